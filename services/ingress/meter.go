package ingress

import (
	"cmp"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meter counts for Prometheus. Its labels are names of packs and what deliveries
// come to, never accounts, endpoints or what a sender says. It is safe for
// concurrent use.
type meter struct {
	deliveries *prometheus.CounterVec
	durations  prometheus.Histogram
}

// unnamed is the label of a provider that no pack has.
const unnamed = "unknown"

func newMeter() *meter {
	return &meter{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plugfn_ingress_webhooks_total", Help: "Deliveries, by what they came to.",
		}, []string{"provider", "outcome"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "plugfn_ingress_webhook_duration_seconds", Help: "From the headers of a delivery to its answer, of those that were not refused.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
}

// answered counts a delivery of a provider that has a pack.
func (m *meter) answered(provider string, a *answer, took time.Duration) {
	m.deliveries.WithLabelValues(provider, a.outcome()).Inc()
	if a.status < http.StatusBadRequest {
		m.durations.Observe(took.Seconds())
	}
}

// refused counts a delivery that did not get as far as the pack's rules.
func (m *meter) refused(provider string, status int) {
	m.deliveries.WithLabelValues(provider, refusedAs(status)).Inc()
}

// What deliveries come to, beside how they are refused.
const (
	kindStored    = "stored"
	kindPing      = "ping"
	kindHandshake = "handshake"
	kindUnparsed  = "unparsed"
)

// outcome is the label of what a delivery came to.
func (a *answer) outcome() string {
	if a.status >= http.StatusBadRequest {
		return refusedAs(a.status)
	}
	return cmp.Or(a.kind, kindStored)
}

// refusedAs is the label of a refusal.
func refusedAs(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "unverified"
	case http.StatusNotFound:
		return "no_provider"
	case http.StatusMethodNotAllowed:
		return "method"
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusUnsupportedMediaType:
		return "type"
	case http.StatusTooManyRequests:
		return "too_many"
	case http.StatusServiceUnavailable:
		return "unavailable"
	default:
		return "broken_off"
	}
}

func spooled() *prometheus.Desc {
	return prometheus.NewDesc("plugfn_ingress_spool_messages", "Events in the spool of this process, which the bus has not yet.", nil, nil)
}

// Describe implements [prometheus.Collector].
func (s *Service) Describe(to chan<- *prometheus.Desc) {
	s.meter.deliveries.Describe(to)
	s.meter.durations.Describe(to)
	to <- spooled()
}

// Collect implements [prometheus.Collector].
func (s *Service) Collect(to chan<- prometheus.Metric) {
	s.meter.deliveries.Collect(to)
	s.meter.durations.Collect(to)
	if s.spool != nil {
		to <- prometheus.MustNewConstMetric(spooled(), prometheus.GaugeValue, float64(s.spool.Messages()))
	}
}
