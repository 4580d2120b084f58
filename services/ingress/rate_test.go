package ingress

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRatesAreThoseOfAnEndpoint(t *testing.T) {
	r, now := newRates(5), time.Unix(1_800_000_000, 0)
	for i := range 10 {
		if !r.take("github", "", now) {
			t.Fatalf("delivery %d is refused", i)
		}
	}
	if r.take("github", "", now) {
		t.Error("a delivery over the rate is taken")
	}
	others := 0
	for i := range 100 { // few of them can share its bucket
		if r.take("github", fmt.Sprint(i), now) {
			others++
		}
	}
	if others < 95 {
		t.Errorf("only %d of 100 other endpoints may go on", others)
	}
	if !r.take("github", "", now.Add(200*time.Millisecond)) {
		t.Error("the endpoint stays refused")
	}
}

// Nothing is read of a delivery over the rate, and its sender is told to wait.
func TestDeliveryOverTheRate(t *testing.T) {
	now := time.Now()
	g := open(t, func(c *Config) { c.Rate, c.Now = 1, func() time.Time { return now } })
	for i := range 2 {
		if status, _ := g.send("github", g.issueOpened(fmt.Sprint("d-", i), 1)); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/webhooks/github", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := g.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusTooManyRequests || w.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", w.StatusCode, w.Header.Get("Retry-After"))
	}
}
