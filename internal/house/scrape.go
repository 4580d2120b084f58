package house

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	scrapeTimeout = 10 * time.Second
	maxScrapes    = 4 // at once
	busPatience   = time.Second
)

// newScrape serves what Prometheus reads:
//
//	GET /metrics    the counters of the services in this process, and what waits on the bus
func newScrape(b *bus.Bus, services []service, version string, log zerolog.Logger) http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildGauge(version), newBacklog(b.JetStream(), b.Role()))
	for _, s := range services {
		if c, ok := s.(prometheus.Collector); ok {
			all.MustRegister(c)
		}
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, ErrorLog: scrapeLog{log}, ErrorHandling: promhttp.ContinueOnError,
	})
}

// scrapeLog takes what promhttp complains of.
type scrapeLog struct{ log zerolog.Logger }

// Println implements [promhttp.Logger].
func (l scrapeLog) Println(v ...any) { l.log.Warn().Interface("said", v).Msg("scrape") }

func buildGauge(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "plugfn_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	return info
}

// backlog tells what waits on the bus. It is asked at each scrape; what does not
// answer is left out.
type backlog struct {
	js                  jetstream.JetStream
	role                bus.Role // asks for no more than it may
	pending, acks, dead *prometheus.Desc
}

func newBacklog(js jetstream.JetStream, role bus.Role) *backlog {
	return &backlog{
		js:      js,
		role:    role,
		pending: prometheus.NewDesc("plugfn_consumer_pending", "Messages that no service has taken up yet.", []string{"consumer"}, nil),
		acks:    prometheus.NewDesc("plugfn_consumer_ack_pending", "Messages that are being worked on.", []string{"consumer"}, nil),
		dead:    prometheus.NewDesc("plugfn_dlq_messages", "Dead letters that are kept.", nil, nil),
	}
}

// Describe implements [prometheus.Collector].
func (b *backlog) Describe(to chan<- *prometheus.Desc) {
	to <- b.pending
	to <- b.acks
	to <- b.dead
}

// Collect implements [prometheus.Collector].
func (b *backlog) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	for _, of := range []struct {
		stream, consumer string
		role             bus.Role
	}{{events.StreamActions, "executor", bus.RoleExecutor}, {events.StreamLater, "mover", bus.RoleScheduler}} {
		if b.role != bus.RoleAdmin && b.role != of.role {
			continue
		}
		c, err := b.js.Consumer(ctx, of.stream, of.consumer)
		if err != nil {
			continue // it was never made, or the bus is away
		}
		info := c.CachedInfo()
		to <- prometheus.MustNewConstMetric(b.pending, prometheus.GaugeValue, float64(info.NumPending), of.consumer)
		to <- prometheus.MustNewConstMetric(b.acks, prometheus.GaugeValue, float64(info.NumAckPending), of.consumer)
	}
	if b.role == bus.RoleAuth {
		return // it has no dead letters
	}
	if stream, err := b.js.Stream(ctx, events.StreamDead); err == nil {
		to <- prometheus.MustNewConstMetric(b.dead, prometheus.GaugeValue, float64(stream.CachedInfo().State.Msgs))
	}
}

func limitStore() *prometheus.Desc {
	return prometheus.NewDesc("plugfn_limiter_store", "1 for what keeps the limits: memory, redis, or local, while Redis does not answer.", []string{"store"}, nil)
}

func limitFailures() *prometheus.Desc {
	return prometheus.NewDesc("plugfn_limiter_redis_failures_total", "Questions that Redis did not answer.", nil, nil)
}

// Describe implements [prometheus.Collector].
func (e *executing) Describe(to chan<- *prometheus.Desc) {
	e.Service.Describe(to)
	to <- limitStore()
	to <- limitFailures()
}

// Collect implements [prometheus.Collector].
func (e *executing) Collect(to chan<- prometheus.Metric) {
	e.Service.Collect(to)
	s := e.limits.Status()
	to <- prometheus.MustNewConstMetric(limitStore(), prometheus.GaugeValue, 1, s.Store)
	to <- prometheus.MustNewConstMetric(limitFailures(), prometheus.CounterValue, float64(s.Failures))
}

// notes are what else is worth knowing of an executor.
func (e *executing) notes() []note {
	return []note{{"limits", func(context.Context) string { return aboutLimits(e.limits.Status()) }}}
}

func aboutLimits(s limiter.Status) string {
	switch s.Store {
	case "redis":
		return "kept in Redis, shared"
	case "local":
		return fmt.Sprintf("Redis does not answer since %s: this process keeps to %.0f %% of each limit by itself", s.Since.UTC().Format(time.RFC3339), 100*s.Share)
	default:
		return "kept in this process; more than one executor needs PLUGFN_REDIS_URL"
	}
}
