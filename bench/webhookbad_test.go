//go:build unix

package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
)

// bad is a delivery that makes no event, and what its sender is told.
type bad struct {
	name, body string
	change     func(http.Header)
	status     int
}

// badDeliveries are those of a sender who means harm, and of one who has a fault.
func badDeliveries() []bad {
	const size = 10 << 20
	long := strings.Repeat("x", size)
	keep := func(http.Header) {}
	return []bad{
		{"10MB-malformed", `{"action":"opened","text":"` + long, keep, http.StatusOK}, // genuine: kept as a dead letter
		{"10MB-forged", `{"action":"opened","text":"` + long + `"}`, func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)) }, http.StatusUnauthorized},
		{"26MB", `"` + strings.Repeat("x", 26<<20) + `"`, func(h http.Header) { h.Set("Expect", "100-continue") }, http.StatusRequestEntityTooLarge},
		{"nested", strings.Repeat("[", 1<<20), keep, http.StatusOK},
		{"no-signature", "{}", func(h http.Header) { h.Del("X-Hub-Signature-256") }, http.StatusUnauthorized},
		{"10000-signatures", "{}", func(h http.Header) { h.Set("X-Hub-Signature-256", strings.Repeat("sha256=00,", 10_000)) }, http.StatusUnauthorized},
		{"header-junk", "{}", func(h http.Header) {
			for name := range h {
				h.Set(name, strings.Repeat("\xff*>.", 1250))
			}
		}, http.StatusUnauthorized},
		{"not-json", "\x00\xff", keep, http.StatusOK},
	}
}

// BenchmarkWebhookBadBodies sends deliveries that make no event, one after the
// other, and reports for each kind how long the answer took from the last byte of
// the body on, in milliseconds: 50 are what is allowed. Genuine ones are kept as dead
// letters before they are answered. The bus is another process.
func BenchmarkWebhookBadBodies(b *testing.B) {
	for _, mode := range modes() {
		b.Run(mode.String(), func(b *testing.B) { benchmarkBadBodies(b, mode) })
	}
}

func benchmarkBadBodies(b *testing.B, mode bus.Durability) {
	server := startChild(b, child{Role: "bus", Durability: mode})
	ours := startChild(b, child{Role: "plugfn", Durability: mode, BusURL: server.at})
	client := newClient(b)
	all := badDeliveries()
	times := make([][]time.Duration, len(all))
	b.ResetTimer()
	for n := range b.N {
		for i := range all {
			times[i] = append(times[i], all[i].post(b, client, ours.webhook(), n))
		}
	}
	b.StopTimer()
	for i := range all {
		b.ReportMetric(float64(percentile(times[i], 50).Microseconds())/1000, all[i].name+"-p50-ms")
		b.ReportMetric(float64(percentile(times[i], 99).Microseconds())/1000, all[i].name+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// post sends it and returns how long the answer took once all was sent.
func (d *bad) post(b *testing.B, client *http.Client, url string, n int) time.Duration {
	b.Helper()
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	// A body that was there before would be a repetition.
	text := append([]byte(d.body), []byte(strings.Repeat(" ", n%64)+strings.Repeat("\n", n/64))...)
	mac.Write(text)
	body := newTimed(text)
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, body)
	if err != nil {
		b.Fatal(err)
	}
	r.ContentLength = int64(len(text))
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"issues"}, "X-Github-Delivery": {"bad"},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))},
	}
	d.change(r.Header)
	w, err := client.Do(r)
	if err != nil {
		b.Errorf("%s: %v", d.name, err)
		return 0
	}
	took := time.Since(time.Unix(0, body.last.Load()))
	_, _ = io.Copy(io.Discard, w.Body)
	w.Body.Close()
	if w.StatusCode != d.status {
		b.Errorf("%s: status %d, want %d", d.name, w.StatusCode, d.status)
	}
	return took
}

// timed is a body that knows when it was read last.
type timed struct {
	text bytes.Reader
	last atomic.Int64 // ns since 1970; at first, when it was made
}

func newTimed(text []byte) *timed {
	t := &timed{text: *bytes.NewReader(text)}
	t.last.Store(time.Now().UnixNano())
	return t
}

func (t *timed) Read(p []byte) (int, error) {
	n, err := t.text.Read(p)
	t.last.Store(time.Now().UnixNano())
	return n, err
}
