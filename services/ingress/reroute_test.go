package ingress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
)

// deliver has deliveries of an installation stored.
func (g *gate) deliver(installation int, ids ...string) {
	g.Helper()
	for _, id := range ids {
		if status, _ := g.send("github", g.issueOpened(id, installation)); status != http.StatusOK {
			g.Fatalf("status %d", status)
		}
	}
}

const opened = ".github.issues.opened"

// has waits until a user has n events, and makes sure that these are all.
func (g *gate) has(user string, n uint64) {
	g.Helper()
	subject := events.PrefixEvent + user + opened
	g.eventually(fmt.Sprintf("%d events of %s", n, user), func() bool { return g.stored(events.StreamEvents)[subject] >= n })
	if got := g.stored(events.StreamEvents)[subject]; got != n {
		g.Errorf("%s has %d events, want %d", user, got, n)
	}
}

func (g *gate) rerouter() *Rerouter {
	g.Helper()
	r, err := NewRerouter(g.Context(), g.bus.JetStream())
	if err != nil {
		g.Fatal(err)
	}
	return r
}

func (g *gate) reroute(in Rerouting) Rerouted {
	g.Helper()
	out, err := g.rerouter().Reroute(g.Context(), in)
	if err != nil {
		g.Fatal(err)
	}
	return out
}

// second runs another ingress on the same bus until the test ends.
func (g *gate) second(now func() time.Time) *Service {
	g.Helper()
	s, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry, Log: zerolog.New(g.log), Now: now})
	if err != nil {
		g.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	g.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.Errorf("Run: %v", err)
		}
	})
	g.eventually("a loaded index", func() bool { return s.Ready(ctx) == nil })
	return s
}

func TestEventsBeforeTheirConnection(t *testing.T) {
	g := open(t)
	g.second(nil) // each sees the connections, and only one gives
	g.deliver(4242, "d-1", "d-2")
	g.deliver(77, "d-3")
	g.connect("u1", "con_1", "4242")
	g.has("u1", 2)
	e, before := g.event(events.PrefixEvent+"u1"+opened), g.event(events.PrefixEvent+"_"+opened)
	if e.ID != "d-2" || e.Source != "/plugfn/github/_/con_1" || e.UserID != "u1" || e.ConnectionID != "con_1" || e.Verified != events.VerifiedBody || e.Account != "4242" {
		t.Errorf("got %+v", e)
	}
	if before.ID != "d-3" || before.UserID != "" {
		t.Errorf("what came for nobody is now %+v", before)
	}
	stream, err := g.bus.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), events.PrefixEvent+"u1"+opened)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Header.Get(jetstream.MsgIDHeader) != dedupeID("github", "_", "d-2", "con_1") || !bytes.Contains(msg.Data, []byte(`"installation"`)) {
		t.Errorf("header %v, body %s", msg.Header, msg.Data)
	}
	// A second connection of the account, and one that moves to it.
	g.connect("u2", "con_2", "4242")
	g.has("u2", 2)
	g.connect("u3", "con_3", "1")
	g.connect("u3", "con_3", "77")
	g.has("u3", 1)
	// A connection that only changes gets nothing again.
	g.connect("u1", "con_1", "4242")
	g.connect("u4", "con_4", "77") // looked at later
	g.has("u4", 1)
	g.has("u1", 2)
}

// TestReroutingIsRepeatable: also when the bus has forgotten the message ids.
func TestReroutingIsRepeatable(t *testing.T) {
	g := open(t)
	g.deliver(4242, "d-1", "d-2", "d-3")
	given := g.event(events.PrefixEvent + "_" + opened)
	given.ID, given.Source, given.UserID, given.ConnectionID = "d-2", "/plugfn/github/_/con_1", "u1", "con_1"
	if _, err := g.bus.JetStream().PublishMsg(t.Context(), given.Msg(events.PrefixEvent+"u1"+opened)); err != nil { // long ago
		t.Fatal(err)
	}
	g.connect("u1", "con_1", "4242")
	g.has("u1", 3)
	if out := g.reroute(Rerouting{Provider: "github", Since: time.Hour}); out != (Rerouted{Unclaimed: 3, Known: 3}) {
		t.Errorf("again: %+v", out)
	}
	g.has("u1", 3)
}

func TestReroutingOnDemand(t *testing.T) {
	g := open(t)
	kv, err := g.bus.JetStream().KeyValue(t.Context(), events.BucketConnections)
	if err != nil {
		t.Fatal(err)
	}
	// Another provider's ingress never looks at these: they are given by hand.
	put := func(user, id, provider, account string) {
		record, err := json.Marshal(events.Connection{ID: id, UserID: user, Provider: provider, Account: account})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), events.Key(user, provider, id), record); err != nil {
			t.Fatal(err)
		}
	}
	payloads := events.Payloads{Conn: g.bus.Conn()}
	long := []byte(`"` + strings.Repeat("a", events.MaxInline) + `"`)
	store := func(id, account, source string) {
		e := events.Event{
			ID: id, Source: source, Type: "com.lamp.on", Provider: "lamp", EventName: "on", Account: account, Time: time.Now(),
			Data: []byte("{}"), DataContentType: "application/json", Extensions: map[string]string{"mood": "x"},
		}
		if id == "1" {
			e.Data = long
		}
		msg, err := payloads.Offload(t.Context(), e.Msg(events.EventSubject("", "lamp", "on")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.bus.JetStream().PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	put("u1", "con_1", "lamp", "a")
	put("u*", "con_2", "lamp", "a")
	put("u3", "con_3", "lamp", "b")
	time.Sleep(2 * claimPause) // the claims of these are served now, and find nothing
	g.eventually("the claims to be served", func() bool { return g.reroute(Rerouting{Provider: "lamp", Since: time.Hour}) == Rerouted{} })
	store("1", "a", "/plugfn/lamp/_/_")
	store("2", "b", "/plugfn/lamp/_/_")
	store("3", "nobody", "/plugfn/lamp/_/_")
	store("4", "", "/plugfn/lamp/_/_")
	store("5", "a", "/plugfn/lamp/whk_1/_") // an endpoint's: it has its user already
	for _, step := range []struct {
		in   Rerouting
		want Rerouted
	}{
		{Rerouting{Provider: "lamp", Since: time.Hour, DryRun: true}, Rerouted{Unclaimed: 5, Published: 3}},
		{Rerouting{Provider: "lamp", Since: time.Hour, Accounts: []string{"a"}}, Rerouted{Unclaimed: 5, Published: 2}},
		{Rerouting{Provider: "lamp", Since: time.Hour, Accounts: []string{}}, Rerouted{Unclaimed: 5}},
		{Rerouting{Provider: "lamp", Since: time.Hour}, Rerouted{Unclaimed: 5, Known: 2, Published: 1}},
		{Rerouting{Provider: "lamp", Since: time.Nanosecond}, Rerouted{}},
		{Rerouting{Provider: "nobody", Since: time.Hour}, Rerouted{}},
	} {
		if got := g.reroute(step.in); got != step.want {
			t.Errorf("%+v: %+v, want %+v", step.in, got, step.want)
		}
	}
	e := g.event(events.EventSubject("u*", "lamp", "on"))
	if e.ID != "1" || e.UserID != "u*" || e.Extensions["mood"] != "x" {
		t.Errorf("got %+v", e)
	}
	if !strings.HasPrefix(e.DataRef.Subject, events.PrefixPayload+events.Token("u*")+".") {
		t.Errorf("the user has to read the payload of another: %s", e.DataRef.Subject)
	}
	if err := payloads.Resolve(t.Context(), &e, maxBody); err != nil || !bytes.Equal(e.Data, long) {
		t.Errorf("payload of %d bytes: %v", len(e.Data), err)
	}
}

// TestConnectionsOfBefore: what appeared while no ingress ran is served by the
// next one, if it is of late.
func TestConnectionsOfBefore(t *testing.T) {
	g := open(t)
	r := g.rerouter()
	g.deliver(1, "d-1")
	s, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry, Log: zerolog.New(g.log)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ago     time.Duration
		atStart bool
		want    int
	}{{2 * time.Hour, true, 0}, {time.Minute, true, 1}, {2 * time.Hour, false, 1}} {
		s.appeared(account{"github", "1"}, &events.Connection{UpdatedAt: time.Now().Add(-tt.ago)}, tt.atStart)
		waiting, _ := s.claims.take()
		if len(waiting) != tt.want {
			t.Errorf("%+v: %v wait", tt, waiting)
		}
	}
	if out, err := r.Reroute(t.Context(), Rerouting{Provider: "github", Since: time.Hour}); err != nil || out != (Rerouted{Unclaimed: 1}) {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestClaimsAreBounded(t *testing.T) {
	c := newClaims()
	for i := range maxClaims + 3 {
		c.add(account{"github", fmt.Sprint(i)}, 0)
	}
	c.add(account{"github", "0"}, 1) // it waits already
	waiting, dropped := c.take()
	if len(waiting["github"]) != maxClaims || dropped != 3 || waiting["github"]["0"] != 1 {
		t.Errorf("%d wait, %d dropped", len(waiting["github"]), dropped)
	}
	if waiting, dropped = c.take(); len(waiting) != 0 || dropped != 0 {
		t.Errorf("%v, %d", waiting, dropped)
	}
}

// TestTheLatestAreLookedAt: of too many the latest ones, and it says so.
func TestTheLatestAreLookedAt(t *testing.T) {
	g := open(t)
	r := g.rerouter()
	from := time.Now()
	g.deliver(1, "a", "b")
	time.Sleep(50 * time.Millisecond)
	g.deliver(1, "c", "d")
	for _, tt := range []struct{ limit, read, older uint64 }{{10, 4, 0}, {3, 2, 2}} {
		var ids []string
		read, older, err := r.read(t.Context(), events.PrefixEvent+"_.github.>", from, tt.limit, func(msg jetstream.Msg, _ *jetstream.MsgMetadata) {
			e, err := events.ParseEvent(msg.Headers(), nil)
			if err != nil || len(msg.Data()) > 0 {
				t.Error(err, len(msg.Data()))
			}
			ids = append(ids, e.ID)
		})
		if err != nil || read > tt.limit || read+older != 4 || ids[len(ids)-1] != "d" || uint64(len(ids)) != read {
			t.Errorf("limit %d: read %d, older %d, %v, %v", tt.limit, read, older, ids, err)
		}
	}
	names := 0
	stream, err := g.bus.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	for range stream.ConsumerNames(t.Context()).Name() {
		names++
	}
	if names != 0 {
		t.Errorf("%d consumers are left", names)
	}
}
