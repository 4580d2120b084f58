//go:build unix

package bench

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// verifyOnly is handMade without a bus: what net/http, the HMAC and the clients
// let through when nothing is stored.
func verifyOnly() http.Handler {
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
		w.WriteHeader(http.StatusOK)
	})
}

// BenchmarkWebhookCeiling posts the deliveries of BenchmarkWebhookToPubAck to the
// baseline and to a server that verifies them and stores nothing. Its ratio is
// the most that any ingress on net/http can reach on this machine with these
// clients, however it stores.
func BenchmarkWebhookCeiling(b *testing.B) {
	for _, mode := range modes() {
		for _, clients := range []int{64, 512} {
			b.Run(fmt.Sprintf("%s/%d clients", mode, clients), func(b *testing.B) {
				benchmarkClients(b, clients, [2]*side{
					startChild(b, child{Role: "baseline", Durability: mode}),
					startChild(b, child{Role: "ceiling", Durability: mode}),
				})
			})
		}
	}
}
