package executor

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// meter counts for Prometheus. Its labels are names of packs and their actions,
// never of users, connections or requests. It is safe for concurrent use.
type meter struct {
	actions    *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	attempts   *prometheus.CounterVec
	responses  *prometheus.CounterVec
	waits      *prometheus.HistogramVec
	rejections *prometheus.CounterVec
	reads      *prometheus.CounterVec
}

// unnamed is the label of what no pack has.
const unnamed = "unknown"

func newMeter() *meter {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, labels)
	}
	return &meter{
		actions:    counter("plugfn_actions_total", "Requests that ended, by outcome.", "provider", "action", "outcome"),
		durations:  histogram("plugfn_action_duration_seconds", "From when a request was taken up last to its result.", "provider", "action"),
		attempts:   counter("plugfn_action_attempts_total", "Attempts, by what they came to.", "provider", "class"),
		responses:  counter("plugfn_provider_http_responses_total", "Answers of providers to attempts.", "provider", "code_class"),
		waits:      histogram("plugfn_ratelimit_wait_seconds", "How long limits held an attempt up.", "provider"),
		rejections: counter("plugfn_ratelimit_rejections_total", "Requests that ended because no limit had a slot in time.", "provider"),
		reads:      counter("plugfn_action_reads_total", "Reads that may be kept, by where the answer came from: kept or asked.", "provider", "from"),
	}
}

func (m *meter) all() []prometheus.Collector {
	return []prometheus.Collector{m.actions, m.durations, m.attempts, m.responses, m.waits, m.rejections, m.reads}
}

// attempted counts one attempt.
func (m *meter) attempted(action *providers.Action, c class, status int, waited time.Duration) {
	provider := action.Pack().Name
	m.attempts.WithLabelValues(provider, string(c)).Inc()
	m.waits.WithLabelValues(provider).Observe(waited.Seconds())
	if status >= 100 && status < 600 {
		m.responses.WithLabelValues(provider, strconv.Itoa(status/100)+"xx").Inc()
	}
}

// concluded counts a result that was stored.
func (m *meter) concluded(packs *providers.Registry, r *events.Result) {
	provider, action := unnamed, unnamed
	if pack, ok := packs.Pack(r.Provider); ok {
		provider = pack.Name
		if a, ok := pack.Action(r.Action); ok {
			action = a.Name
		}
	}
	m.actions.WithLabelValues(provider, action, string(r.Outcome)).Inc()
	m.durations.WithLabelValues(provider, action).Observe(float64(r.DurationMS) / 1000)
}

// rejected counts a request that no limit lets pass in time. Its provider has a
// pack.
func (m *meter) rejected(provider string) { m.rejections.WithLabelValues(provider).Inc() }

// read counts a read whose answer may be kept.
func (m *meter) read(provider string, kept bool) {
	from := "asked"
	if kept {
		from = "kept"
	}
	m.reads.WithLabelValues(provider, from).Inc()
}

// circuit is the state of the breaker of a provider.
func circuit() *prometheus.Desc {
	return prometheus.NewDesc("plugfn_circuit_state", "Whether a provider is left alone: 0 no, 1 it is tried again, 2 yes.", []string{"provider"}, nil)
}

// Describe implements [prometheus.Collector].
func (s *Service) Describe(to chan<- *prometheus.Desc) {
	for _, c := range s.meter.all() {
		c.Describe(to)
	}
	to <- circuit()
}

// Collect implements [prometheus.Collector].
func (s *Service) Collect(to chan<- prometheus.Metric) {
	for _, c := range s.meter.all() {
		c.Collect(to)
	}
	for provider, state := range s.health.circuits() {
		to <- prometheus.MustNewConstMetric(circuit(), prometheus.GaugeValue, state, provider)
	}
}
