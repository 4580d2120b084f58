package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus/bustest"
)

func TestRefusalsOfAllReplicas(t *testing.T) {
	g := open(t)
	other, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- other.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	g.eventually("both", func() bool {
		replies, err := askAll(t.Context(), g.bus.Conn(), refusalQuestion{Limit: 1})
		return err == nil && len(replies) == 2
	})
	wrong := g.issueOpened("d-1", 1)
	wrong.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	g.send("github", wrong)
	wrong.Header.Del("X-Hub-Signature-256")
	g.send("github", wrong)
	g.send("nobody", wrong)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://h/webhooks/github", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.SetPathValue("provider", "github")
	other.refusals.add(r, 503, "starting", time.Now().Add(-time.Hour))

	all, err := Refusals(t.Context(), g.bus.Conn(), "github", 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, fmt.Sprint(r.Reason, " ", r.Status))
	}
	if want := []string{"missing_header 401", "mismatch 401", "starting 503"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if all[0].Replica == all[2].Replica || all[0].Bytes != int64(len(wrong.Body)) || !slices.Contains(all[1].Headers, "X-Hub-Signature-256") {
		t.Errorf("got %+v", all)
	}
	if whole, err := json.Marshal(all); err != nil || strings.Contains(string(whole), "0000") {
		t.Errorf("a value was kept: %s, %v", whole, err)
	}
	if all, err := Refusals(t.Context(), g.bus.Conn(), "", 2); err != nil || len(all) != 2 || all[0].Provider != "nobody" {
		t.Errorf("got %+v, %v", all, err)
	}
	if _, err := Refusals(t.Context(), g.bus.Conn(), "", 0); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a limit of 0: %v", err)
	}
}

func TestRefusalsWithoutIngress(t *testing.T) {
	if _, err := Refusals(t.Context(), bustest.New(t).Conn(), "", 1); !errors.Is(err, ErrNobody) {
		t.Errorf("got %v", err)
	}
}

// TestRefusalsOfAFlood: neither memory nor the refusals of others are taken.
func TestRefusalsOfAFlood(t *testing.T) {
	var l refusals
	now := time.Unix(1_700_000_000, 0)
	r := &http.Request{Header: http.Header{}}
	for i := range 100 {
		r.Header.Set(fmt.Sprint("X-", i, strings.Repeat("a", 100)), "secret")
	}
	r.SetPathValue("provider", "slack")
	l.add(r, 413, "body too large", now)
	for i := range 10_000 {
		r.SetPathValue("provider", fmt.Sprint("p", i, strings.Repeat("x", 100)))
		l.add(r, 404, noSuchProvider, now)
		r.SetPathValue("provider", "github")
		l.add(r, 401, "mismatch", now.Add(time.Duration(i/100)*time.Second))
	}
	all := l.last("", 1000)
	kinds := map[string]int{}
	for _, one := range all {
		kinds[one.Reason]++
		if len(one.Provider) > maxNamed || len(one.Headers) > maxHeaderNames || len(one.Headers[0]) > maxHeaderName {
			t.Errorf("kept too much: %+v", one)
		}
	}
	if kinds["mismatch"] != ringSize || kinds["body too large"] != 1 || kinds[noSuchProvider] != refusalsPerSec || len(l.rings) != 3 {
		t.Errorf("kept %v in %d rings", kinds, len(l.rings))
	}
	if newest := l.last("github", 2); newest[0].Skipped != 95 || newest[1].Skipped != 0 {
		t.Errorf("skipped %d and %d", newest[0].Skipped, newest[1].Skipped)
	}
	if body, err := encodeRefusals("r", slices.Repeat(all, 200)); err != nil || len(body) > maxReply {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

func TestEndpointMark(t *testing.T) {
	if endpointMark("") != "" || endpointMark("a") == endpointMark("b") || strings.Contains(endpointMark("abcdef"), "abcdef") {
		t.Error("endpoints are not told apart, or given away")
	}
}

func BenchmarkRefusals(b *testing.B) {
	var l refusals
	r := &http.Request{Header: http.Header{"X-Github-Event": {"a"}, "Content-Type": {"b"}, "User-Agent": {"c"}}}
	r.SetPathValue("provider", "github")
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.add(r, 401, "mismatch", now)
	}
}
