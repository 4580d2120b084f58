package ingress

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// again is a gate whose bus forgets ids soon.
type again struct {
	*gate
	js     jetstream.JetStream
	stream jetstream.Stream
	places jetstream.KeyValue
}

func openForgetful(t *testing.T, change ...func(*Config)) *again {
	t.Helper()
	return openForgetfulOn(t, bustest.New(t), change...)
}

func openForgetfulOn(t *testing.T, on *bus.Bus, change ...func(*Config)) *again {
	t.Helper()
	a := &again{gate: openOn(t, on, change...), js: on.JetStream()}
	a.window(100 * time.Millisecond)
	var err error
	if a.places, err = a.js.KeyValue(t.Context(), bus.BucketDeliveries); err != nil {
		t.Fatal(err)
	}
	return a
}

// window is how long the stream itself knows an id.
func (a *again) window(d time.Duration) {
	a.Helper()
	stream, err := a.js.Stream(a.Context(), events.StreamEvents)
	if err != nil {
		a.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = d
	if a.stream, err = a.js.UpdateStream(a.Context(), cfg); err != nil {
		a.Fatal(err)
	}
}

// forget waits until the stream knows none of the ids that it knows now.
func (a *again) forget() {
	a.Helper()
	probe := nats.NewMsg("plugfn.event._.probe.x")
	probe.Header.Set(jetstream.MsgIDHeader, fmt.Sprint("probe-", rand.Uint64()))
	first := true
	a.eventually("forgotten ids", func() bool {
		ack, err := a.js.PublishMsg(a.Context(), probe)
		if err != nil {
			a.Fatal(err)
		}
		done := !first && !ack.Duplicate
		first = false
		return done
	})
}

func (a *again) deliver(provider, body string) {
	a.Helper()
	d := &providers.Delivery{
		Method: http.MethodPost, Body: []byte(body), ReceivedAt: time.Now(), Header: http.Header{"Content-Type": {"application/json"}},
	}
	pack, _ := a.registry.Pack(provider)
	if err := pack.Webhooks.NewSigner([]providers.Secret{providers.NewSecret([]byte(secret))}, providers.Secret{}).Sign(d, ""); err != nil {
		a.Error(err)
		return
	}
	r, err := http.NewRequestWithContext(a.Context(), d.Method, a.url+"/webhooks/"+provider, bytes.NewReader(d.Body))
	if err != nil {
		a.Error(err)
		return
	}
	r.Header = d.Header
	w, err := a.client.Do(r)
	if err != nil {
		a.Error(err)
		return
	}
	w.Body.Close()
	if w.StatusCode != http.StatusOK {
		a.Errorf("%s: status %d", provider, w.StatusCode)
	}
}

func payment(id string, amount, pending int) string {
	return fmt.Sprintf(`{"id":%q,"object":"event","type":"invoice.paid","created":1770116400,"data":{"object":{"id":"in_1","amount":%d}},"pending_webhooks":%d}`, id, amount, pending)
}

// found are the events of deliveries, in their order, the probes left out.
func (a *again) found() (all []events.Event) {
	a.Helper()
	info, err := a.stream.Info(a.Context())
	if err != nil {
		a.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := a.stream.GetMsg(a.Context(), seq)
		if err != nil {
			a.Fatal(err)
		}
		if strings.HasPrefix(msg.Subject, "plugfn.event._.probe.") {
			continue
		}
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil {
			a.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func ids(all []events.Event) (ids []string) {
	for _, e := range all {
		ids = append(ids, e.ID)
	}
	return ids
}

// remembered waits until so many places are written down.
func (a *again) remembered(n int) {
	a.Helper()
	a.eventually(fmt.Sprintf("%d places", n), func() bool {
		status, err := a.places.Status(a.Context())
		return err == nil && status.Values() >= uint64(n)
	})
}

func TestRepetitionAfterTheWindowIsNoEvent(t *testing.T) {
	for name, change := range map[string]func(*Config){"singly": func(*Config) {}, "together": func(c *Config) { c.GroupCommit = true }} {
		t.Run(name, func(t *testing.T) {
			a := openForgetful(t, change)
			const n = 40
			send := func(pending int) {
				var all sync.WaitGroup
				for i := range n {
					all.Go(func() { a.deliver("stripe", payment(fmt.Sprint("evt_", i), i, pending)) })
				}
				all.Wait()
			}
			send(1)
			a.remembered(n)
			for pending := range 2 { // what differs between attempts is no other body
				a.forget()
				send(pending)
			}
			if got := a.found(); len(got) != n {
				t.Errorf("%d events: %v", len(got), ids(got))
			}
			msg, err := a.js.Stream(t.Context(), "KV_"+bus.BucketDeliveries)
			if err != nil {
				t.Fatal(err)
			}
			place, err := msg.GetMsg(t.Context(), msg.CachedInfo().State.LastSeq)
			if err != nil || place.Header.Get(jetstream.MsgTTLHeader) != "260100s" { // 72 h and the window
				t.Errorf("remembered for %q, %v", place.Header.Get(jetstream.MsgTTLHeader), err)
			}
		})
	}
}

// A provider that repeats only while the stream remembers costs nothing.
func TestShortHorizonIsNotRemembered(t *testing.T) {
	a := openForgetful(t)
	if status, _ := a.send("github", a.issueOpened("d-1", 1)); status != http.StatusOK {
		t.Fatal(status)
	}
	a.deliver("stripe", payment("evt_1", 1, 1))
	a.remembered(1)
	if status, err := a.places.Status(t.Context()); err != nil || status.Values() != 1 {
		t.Errorf("%d places, %v", status.Values(), err)
	}
}

// The same id with another body is an event of its own, within the window and
// after it, and comes once as well.
func TestOtherBodyUnderAnIDIsKept(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		t.Run(fmt.Sprint("forgotten ", forgotten), func(t *testing.T) {
			a := openForgetful(t)
			if !forgotten {
				cfg := a.stream.CachedInfo().Config
				cfg.Duplicates = time.Minute
				if _, err := a.js.UpdateStream(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
			}
			for amount := 1; amount <= 3; amount++ {
				for range 2 {
					a.deliver("stripe", payment("evt_1", amount, amount))
					if forgotten {
						a.remembered(amount)
						a.forget()
					}
				}
			}
			all := a.found()
			if len(all) != 3 || all[0].ID != "evt_1" || all[0].Extensions["conflict"] != "" {
				t.Fatalf("events %v", ids(all))
			}
			for i, e := range all[1:] {
				if e.Extensions["conflict"] != "evt_1" || !strings.HasPrefix(e.ID, "evt_1:") || string(e.Data) != payment("evt_1", i+2, i+2) {
					t.Errorf("%s in conflict with %q: %s", e.ID, e.Extensions["conflict"], e.Data)
				}
			}
		})
	}
}

// Conflicts are found at short horizons, too, and where the body is too long for
// a message.
func TestOtherBodyOfGitHub(t *testing.T) {
	for _, pad := range []int{0, 1 << 20} {
		g := open(t)
		for _, text := range []string{"a", "a", "b", "b", "a"} {
			body := `{"action":"opened","text":"` + text + strings.Repeat("x", pad) + `"}`
			if status, _ := g.send("github", g.signed("d-1", "issues", body)); status != http.StatusOK {
				t.Fatal(status)
			}
		}
		n := uint64(0)
		for _, stored := range g.stored(events.StreamEvents) {
			n += stored
		}
		e := g.event("plugfn.event._.github.issues.opened")
		if n != 2 || e.Extensions["conflict"] != "d-1" {
			t.Errorf("with %d bytes more: %d events, the last in conflict with %q", pad, n, e.Extensions["conflict"])
		}
	}
}

// A late repetition that came while the bus was away is no event either.
func TestRepetitionThroughTheSpool(t *testing.T) {
	o, local := newOutage(t), newSpool(t, t.TempDir(), 0)
	a := openForgetfulOn(t, o.client, func(c *Config) { c.Spool = local.JetStream() })
	defer func() { a.close(); _ = local.Close() }()
	a.deliver("stripe", payment("evt_1", 1, 1))
	a.remembered(1)
	a.forget()
	o.begin()
	a.deliver("stripe", payment("evt_1", 1, 1))
	a.deliver("stripe", payment("evt_2", 1, 1))
	o.end()
	a.eventually("the events of the outage", func() bool { return slices.Contains(ids(a.found()), "evt_2") })
	if got := ids(a.found()); !slices.Equal(got, []string{"evt_1", "evt_2"}) {
		t.Errorf("events %v", got)
	}
}

// An endpoint with a block of its own has the horizon of that block, whichever
// way its events come to the bus.
func TestHorizonOfAnEndpoint(t *testing.T) {
	o, local := newOutage(t), newSpool(t, t.TempDir(), 0)
	h := newHouse()
	a := openForgetfulOn(t, o.client, func(c *Config) { c.Spool, c.Endpoints = local.JetStream(), h })
	defer func() { a.close(); _ = local.Close() }()
	pack, _ := a.registry.Pack("generic")
	own, err := pack.Webhooks.With([]byte(`{"retry_horizon":"48h","varies":["/attempt"],"verify":[{"scheme":"token","signature":{"from":"header:X-Token"}}]}`), providers.App{})
	if err != nil {
		t.Fatal(err)
	}
	h.all["generic/one"] = endpoint.Endpoint{
		ID: "whk_one", Provider: "generic", UserID: "u1", ConnectionID: "c/1", State: endpoint.Active, Webhooks: own, Secrets: []providers.Secret{providers.NewSecret([]byte(secret))},
	}
	send := func(id string, attempt int) {
		t.Helper()
		status, _ := a.send("generic/one", &providers.Delivery{
			Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}, "X-Token": {secret}},
			Body: []byte(fmt.Sprintf(`{"id":%q,"type":"made","attempt":%d}`, id, attempt)),
		})
		if status != http.StatusOK {
			t.Fatalf("%s: status %d", id, status)
		}
	}
	send("d-1", 1)
	a.remembered(1)
	a.forget()
	send("d-1", 2)
	o.begin()
	send("d-1", 3)
	send("d-2", 1)
	o.end()
	a.remembered(2)
	if got := ids(a.found()); !slices.Equal(got, []string{"d-1", "d-2"}) {
		t.Errorf("events %v", got)
	}
	places, err := a.js.Stream(t.Context(), "KV_"+bus.BucketDeliveries)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range places.CachedInfo().State.LastSeq {
		place, err := places.GetMsg(t.Context(), seq+1)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			t.Fatal(err)
		}
		if err == nil && place.Header.Get(jetstream.MsgTTLHeader) != "173700s" { // 48 h and the window
			t.Errorf("remembered for %q", place.Header.Get(jetstream.MsgTTLHeader))
		}
	}
}

// TestWhoseBlock: as long as it is not known what an endpoint says, its events are
// remembered for as long as it may say.
func TestWhoseBlock(t *testing.T) {
	g, h := openHouse(t)
	pack, _ := g.registry.Pack("generic")
	own, err := pack.Webhooks.With([]byte(`{"retry_horizon":"48h"}`), providers.App{})
	if err != nil {
		t.Fatal(err)
	}
	h.all["generic/one"] = endpoint.Endpoint{ID: "whk_one", Provider: "generic", Webhooks: own}
	h.all["generic/two"] = endpoint.Endpoint{ID: "whk_two", Provider: "generic"}
	for _, tt := range []struct {
		provider, source string
		partly           bool
		want             time.Duration
	}{
		{"generic", "/plugfn/generic/whk_one/_", false, 48 * time.Hour},
		{"generic", "/plugfn/generic/whk_one/_", true, 48 * time.Hour},
		{"generic", "/plugfn/generic/whk_two/_", false, providers.DefaultRetryHorizon},
		{"generic", "/plugfn/generic/whk_gone/_", false, providers.DefaultRetryHorizon},
		{"generic", "/plugfn/generic/whk_gone/_", true, providers.LongestRetryHorizon},
		{"generic", "/plugfn/generic/_/_", true, providers.DefaultRetryHorizon},
		{"generic", "nonsense", true, providers.DefaultRetryHorizon},
		{"stripe", "/plugfn/stripe/whk_gone/_", true, 72 * time.Hour},
		{"nobody", "", true, 0},
	} {
		h.mu.Lock()
		h.partly = tt.partly
		h.mu.Unlock()
		msg := &nats.Msg{Header: nats.Header{"ce-provider": {tt.provider}, "ce-source": {tt.source}}}
		if got := g.service.webhooksOf(msg).RetryHorizon; got != tt.want {
			t.Errorf("%s, known in part %t: %s, want %s", tt.source, tt.partly, got, tt.want)
		}
	}
}

const harmed = 6

// ledger is what a sender knows.
type ledger struct {
	mu    sync.Mutex
	acked map[string]bool // :: id and body
	blind map[string]bool // :: ids of which something was forgotten that should not
}

// Whatever becomes of the memory of deliveries (a process that ends before it
// writes, records that lie), what was acknowledged is stored; and stored once as
// long as nothing was forgotten.
func TestNothingIsLostToTheMemory(t *testing.T) {
	t.Parallel() // it waits
	const rounds, deliveries = 4, 60
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	a := openForgetful(t)
	a.window(time.Second) // two that come at once are told by the stream, however slow the machine is
	l := ledger{acked: map[string]bool{}, blind: map[string]bool{}}
	for range rounds {
		var all sync.WaitGroup
		sent := map[string]string{} // :: body → id
		for range deliveries {
			id, amount := fmt.Sprint("evt_", random.IntN(2*harmed)), random.IntN(3)
			sent[payment(id, amount, 1)] = id
			all.Go(func() {
				a.deliver("stripe", payment(id, amount, 1))
				l.mu.Lock()
				defer l.mu.Unlock()
				l.acked[fmt.Sprintf("%s %d", id, amount)] = true
			})
		}
		all.Wait()
		for body, id := range sent {
			a.eventually("the memory of "+body, func() bool { return a.remembers(id, body) })
		}
		a.harm(random, &l)
		a.forget()
		a.compare(&l)
	}
}

// remembers tells whether it is known where the event with a body is: under the
// id of its delivery, or under that of a conflict.
func (a *again) remembers(id, body string) bool {
	a.Helper()
	msg := nats.NewMsg("")
	msg.Data = []byte(body)
	msg.Header.Set(jetstream.MsgIDHeader, dedupeID("stripe", appEndpoint, id, ""))
	for _, of := range []*nats.Msg{msg, conflicting(msg)} {
		key := of.Header.Get(jetstream.MsgIDHeader)
		at, err := a.service.repeats.Find(a.Context(), key)
		if err != nil {
			a.Fatal(err)
		}
		if at == 0 {
			continue
		}
		if e, err := a.service.repeats.Event(a.Context(), at, key); err == nil && e != nil && string(e.Data) == body {
			return true
		}
	}
	return false
}

// harm takes some of the memory of half of the ids away, and makes some of it
// wrong.
func (a *again) harm(random *rand.Rand, l *ledger) {
	a.Helper()
	for i := range harmed {
		id := fmt.Sprint("evt_", i)
		key, err := strings.ReplaceAll(dedupeID("stripe", appEndpoint, id, ""), ":", "/"), error(nil)
		switch random.IntN(6) {
		case 0, 1:
			err = a.places.Purge(a.Context(), key)
		case 2:
			_, err = a.places.Put(a.Context(), key, []byte("1")) // of another one
		case 3:
			_, err = a.places.Put(a.Context(), key, []byte("4000000000"))
		case 4:
			_, err = a.places.Put(a.Context(), key, []byte("what?"))
		}
		if err != nil {
			a.Fatal(err)
		}
		l.blind[id] = true
	}
}

func (a *again) compare(l *ledger) {
	a.Helper()
	stored := map[string]int{}
	for _, e := range a.found() {
		id := e.ID
		if of := e.Extensions["conflict"]; of != "" {
			id = of
		}
		for amount := range 3 {
			if string(e.Data) == payment(id, amount, 1) {
				stored[fmt.Sprintf("%s %d", id, amount)]++
			}
		}
	}
	for delivery := range l.acked {
		if stored[delivery] == 0 {
			a.Errorf("%s was acknowledged and is not there", delivery)
		}
		if stored[delivery] > 1 && !l.blind[strings.Fields(delivery)[0]] {
			a.Errorf("%s is stored %d times", delivery, stored[delivery])
		}
	}
}
