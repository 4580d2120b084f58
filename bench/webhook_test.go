package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
)

const (
	webhookSecret  = "It's a Secret to Everybody"
	webhookClients = 64
)

// githubBody is an issues.opened delivery of about 8 KiB.
func githubBody() []byte {
	text := strings.Repeat("Something does not work as I would expect it to. ", 150)
	return []byte(fmt.Sprintf(`{"action":"opened","issue":{"number":7,"title":"It broke","body":%q,"updated_at":"2026-01-02T03:04:05Z"},`+
		`"repository":{"id":1,"full_name":"octo/hello"},"installation":{"id":4242},"sender":{"login":"octocat"}}`, text))
}

// sender posts signed deliveries, each with its own id.
type sender struct {
	client    *http.Client
	body      []byte
	signature string
	next      atomic.Uint64
}

func newSender(b *testing.B) *sender {
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	body := githubBody()
	mac.Write(body)
	return &sender{client: newClient(b), body: body, signature: "sha256=" + hex.EncodeToString(mac.Sum(nil))}
}

// request is the next delivery.
func (s *sender) request(url string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(s.body))
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"issues"},
		"X-Github-Delivery": {fmt.Sprint("d-", s.next.Add(1))}, "X-Hub-Signature-256": {s.signature},
	}
	return r, nil
}

func (s *sender) send(b *testing.B, url string) (id string) {
	r, err := s.request(url)
	if err != nil {
		b.Error(err)
		return ""
	}
	id = r.Header.Get("X-Github-Delivery")
	w, err := s.client.Do(r)
	if err != nil {
		b.Error(err)
		return id
	}
	_, _ = io.Copy(io.Discard, w.Body)
	w.Body.Close()
	if w.StatusCode != http.StatusOK {
		b.Errorf("%s: status %d", url, w.StatusCode)
	}
	return id
}

// handMade is the ingress of an afternoon: read, HMAC, publish, answer.
func handMade(js jetstream.JetStream) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if !genuine(r, body) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		msg := &nats.Msg{Subject: "plugfn.event._.github.issues.opened", Data: body, Header: nats.Header{"ce-id": {r.Header.Get("X-GitHub-Delivery")}}}
		ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second) // many clients wait long for the disk
		defer cancel()
		if _, err := js.PublishMsg(ctx, msg, jetstream.WithMsgID(r.Header.Get("X-GitHub-Delivery"))); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
}

// genuine checks the signature as GitHub's documentation shows it.
func genuine(r *http.Request, body []byte) bool {
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	mac.Write(body)
	given, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256="))
	return err == nil && hmac.Equal(given, mac.Sum(nil))
}

func serve(b *testing.B, h http.Handler) string {
	s := httptest.NewServer(h)
	b.Cleanup(s.Close)
	return s.URL
}

// startIngress runs the real service and returns where GitHub's deliveries go.
func startIngress(b *testing.B, on *bus.Bus) string {
	b.Helper()
	service, err := newReceiving(on, newSpool(b))
	if err != nil {
		b.Fatal(err)
	}
	run(b, service)
	mux, err := service.routes(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return serve(b, mux) + "/webhooks/github"
}

func newSpool(b *testing.B) jetstream.JetStream {
	spool, err := bus.OpenSpool(context.Background(), bus.SpoolConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { spool.Close() })
	return spool.JetStream()
}

// BenchmarkDeliveryToSubscriber: one delivery after the other; the time from the
// first byte of the request to the event at a subscriber.
func BenchmarkDeliveryToSubscriber(b *testing.B) {
	for _, mode := range modes() {
		b.Run(mode.String(), func(b *testing.B) {
			plainBus, ourBus := newBus(b, mode), newBus(b, mode)
			sides := []struct {
				name string
				url  string
				bus  *bus.Bus
			}{{"baseline", serve(b, handMade(plainBus.JetStream())), plainBus}, {"plugfn", startIngress(b, ourBus), ourBus}}
			s := newSender(b)
			var times [2][]time.Duration
			var arrived [2]chan string
			for i, side := range sides {
				arrived[i] = make(chan string, 1024)
				reader(b, side.bus, func(id string) { arrived[i] <- id })
			}
			b.ResetTimer()
			for range b.N {
				for i, side := range sides {
					began := time.Now()
					id := s.send(b, side.url)
					for got := ""; got != id; {
						select {
						case got = <-arrived[i]:
						case <-time.After(10 * time.Second):
							b.Fatalf("%s: delivery %s never arrived", side.name, id)
						}
					}
					times[i] = append(times[i], time.Since(began))
				}
			}
			b.StopTimer()
			for i, side := range sides {
				b.ReportMetric(float64(percentile(times[i], 50).Microseconds()), side.name+"-p50-µs")
				b.ReportMetric(float64(percentile(times[i], 99).Microseconds()), side.name+"-p99-µs")
			}
			b.ReportMetric(float64(percentile(times[1], 50))/float64(percentile(times[0], 50)), "p50-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
