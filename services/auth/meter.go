package auth

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/plugfn/plugfn/pkg/providers"
)

// meter counts for Prometheus. Its labels are names of packs and a few words of
// ours, never users or connections. It is safe for concurrent use.
type meter struct {
	packs     *providers.Registry
	refreshes *prometheus.CounterVec
}

// unnamed is the label of a provider that no pack has.
const unnamed = "unknown"

// outcomeRefreshed is the label of a refresh that worked. The others are classes
// of failures.
const outcomeRefreshed = "refreshed"

func newMeter(packs *providers.Registry) *meter {
	return &meter{packs: packs, refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "plugfn_oauth_refresh_total", Help: "Questions to providers for a newer credential, by what they came to.",
	}, []string{"provider", "outcome"})}
}

// refreshed counts one question to a provider, with the error that it came to.
func (m *meter) refreshed(provider string, err error) {
	outcome := outcomeRefreshed
	if err != nil {
		outcome = string(asRefusal(err).Class)
	}
	m.refreshes.WithLabelValues(m.label(provider), outcome).Inc()
}

// label is the name of a provider's pack.
func (m *meter) label(provider string) string {
	if _, ok := m.packs.Pack(provider); !ok {
		return unnamed
	}
	return provider
}

func connections() *prometheus.Desc {
	return prometheus.NewDesc("plugfn_connections", "Connections that there are, the same in each auth service.", []string{"provider", "status"}, nil)
}

// Describe implements [prometheus.Collector].
func (s *Service) Describe(to chan<- *prometheus.Desc) {
	s.refresher.meter.refreshes.Describe(to)
	to <- connections()
}

// Collect implements [prometheus.Collector]. Connections are left out until all
// were seen.
func (s *Service) Collect(to chan<- prometheus.Metric) {
	s.refresher.meter.refreshes.Collect(to)
	select {
	case <-s.store.index.loaded:
	default:
		return
	}
	sums := map[group]int{}
	for g, n := range s.store.index.counted() {
		g.provider = s.refresher.meter.label(g.provider)
		sums[g] += n
	}
	for g, n := range sums {
		to <- prometheus.MustNewConstMetric(connections(), prometheus.GaugeValue, float64(n), g.provider, string(g.status))
	}
}
