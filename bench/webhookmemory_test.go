//go:build unix

package bench

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/plugfn/plugfn/internal/bus"
)

// BenchmarkWebhookMemory posts 64 bodies of 25 MB at once, b.N times, and reports
// by how much the most memory that the process ever had is above what it had
// before, as a share of the budget for bodies, 256 MiB: ours to choose, so it is
// the baseline. As many are taken as it allows, the others are told to come again.
// The bus is another process.
func BenchmarkWebhookMemory(b *testing.B) {
	const budget, clients = 256 << 20, 64
	server := startChild(b, child{Role: "bus", Durability: bus.Dev})
	ours := startChild(b, child{Role: "plugfn", Durability: bus.Dev, BusURL: server.at})
	s := newHugeSender(b)
	before := ours.usage(b)
	var answers [3]atomic.Int64
	b.ResetTimer()
	for range b.N {
		spread(clients, clients, func() { answers[s.post(ours.webhook())].Add(1) })
	}
	b.StopTimer()
	if n := answers[otherwise].Load(); n > 0 {
		b.Errorf("%d deliveries answered otherwise", n)
	}
	after := ours.usage(b)
	b.ReportMetric(float64(after.Peak-before.Peak)/budget, "ratio")
	b.ReportMetric(float64(after.Allocated-before.Allocated)/(1<<20)/float64(b.N), "MiB/op")
	b.ReportMetric(float64(before.Peak)/(1<<20), "MiB-before")
	b.ReportMetric(float64(answers[taken].Load())/float64(b.N), "taken/op")
	b.ReportMetric(float64(answers[refused].Load())/float64(b.N), "refused/op")
}

// How a delivery was answered.
const (
	taken = iota
	refused
	otherwise
)

// newHugeSender is a sender of bodies of 25 MB.
func newHugeSender(b *testing.B) *sender {
	const size = 25_000_000
	s := newSender(b)
	s.body = append(s.body, bytes.Repeat([]byte(" "), size-len(s.body))...)
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	mac.Write(s.body)
	s.signature = "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return s
}

func (s *sender) post(url string) int {
	r, err := s.request(url)
	if err != nil {
		return otherwise
	}
	w, err := s.client.Do(r)
	if err != nil {
		return refused // the answer came and the connection went before all was sent
	}
	defer w.Body.Close()
	switch w.StatusCode {
	case http.StatusOK:
		return taken
	case http.StatusServiceUnavailable:
		return refused
	default:
		return otherwise
	}
}
