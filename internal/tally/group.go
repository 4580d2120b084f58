package tally

import (
	"math"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
)

// Group is how the requests of one provider, action or user ended. Durations are
// the duration_ms of results, of those whose duration is known.
type Group struct {
	Group       string  `json:"group" doc:"The provider, the action with its provider in front, or the user."`
	Total       int     `json:"total" doc:"Requests that ended."`
	Succeeded   int     `json:"succeeded"`
	Failed      int     `json:"failed"`
	Unknown     int     `json:"unknown"`
	RateLimited int     `json:"rate_limited" doc:"Of the failed: those that no limit let pass in time."`
	Retried     int     `json:"retried" doc:"Those that took more than one attempt."`
	SuccessRate float64 `json:"success_rate" doc:"From 0 to 1."`
	Average     float64 `json:"average_ms" doc:"Of the durations."`
	P95         float64 `json:"p95_ms" doc:"Of the durations; right to 5 %."`
	LimitWaits  int     `json:"limit_waits" doc:"Those that a rate limit held back."`
	LimitWait   float64 `json:"limit_wait_ms" doc:"How long, on average of those."`

	timed, sum, waited int64
	durations          [maxBuckets]int32
}

// Durations are counted in buckets, each 5 % longer than the one before; the
// last holds all from some 24 days.
const (
	bucketGrowth = 1.05
	maxBuckets   = 445
)

func bucketOf(ms int64) int {
	return min(int(math.Ceil(math.Log(float64(ms)+1)/math.Log(bucketGrowth))), maxBuckets-1)
}

// add counts a result by its headers.
func (g *Group) add(e *events.Event, header nats.Header) {
	g.Total++
	_, outcome, _ := strings.Cut(e.Type, "plugfn.action.")
	switch events.Outcome(outcome) {
	case events.Succeeded:
		g.Succeeded++
	case events.Unknown:
		g.Unknown++
	default:
		g.Failed++
	}
	if events.HeaderValue(header, events.HeaderErrorCode) == string(events.CodeRateLimited) {
		g.RateLimited++
	}
	if n, err := strconv.Atoi(events.HeaderValue(header, events.HeaderAttempts)); err == nil && n > 1 {
		g.Retried++
	}
	if ms, ok := milliseconds(header, events.HeaderDuration); ok {
		g.timed++
		g.sum += ms
		g.durations[bucketOf(ms)]++
	}
	if ms, ok := milliseconds(header, events.HeaderWaited); ok && ms > 0 {
		g.LimitWaits++
		g.waited += ms
	}
}

func milliseconds(header nats.Header, name string) (int64, bool) {
	ms, err := strconv.ParseInt(events.HeaderValue(header, name), 10, 64)
	return ms, err == nil && ms >= 0
}

// finish works out what follows from the counts.
func (g *Group) finish() {
	if g.Total > 0 {
		g.SuccessRate = float64(g.Succeeded) / float64(g.Total)
	}
	g.Average, g.LimitWait = mean(g.sum, g.timed), mean(g.waited, int64(g.LimitWaits))
	if g.timed == 0 {
		return
	}
	rest := int64(math.Ceil(0.95 * float64(g.timed)))
	for i, n := range g.durations {
		if rest -= int64(n); rest <= 0 {
			g.P95 = math.Round(math.Pow(bucketGrowth, float64(i)) - 1)
			break
		}
	}
}

// mean is right to a tenth.
func mean(sum, n int64) float64 {
	if n == 0 {
		return 0
	}
	return math.Round(10*float64(sum)/float64(n)) / 10
}
