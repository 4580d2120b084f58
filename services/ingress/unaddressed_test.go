package ingress

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// unreached is a bus that was there once and is away when the ingress starts.
func unreached(t *testing.T, before func(*outage)) *outage {
	t.Helper()
	o := &outage{T: t, dir: t.TempDir()}
	o.server = bustest.New(t, bustest.Listen, bustest.Dir(o.dir))
	url := o.server.ClientURL()
	o.addr = strings.TrimPrefix(url, "nats://")
	before(o)
	o.begin()
	o.client = bustest.New(t, func(c *bus.Config) { c.URL, c.MayBeAway = url, true })
	o.reached = make(chan struct{})
	return o
}

// returns ends the outage for a client that was never connected.
func (o *outage) returns() {
	o.server = bustest.New(o.T, bustest.Dir(o.dir), func(c *bus.Config) { c.Addr = o.addr })
	o.client.Settle(o.Context())
	close(o.reached)
}

// An ingress that starts while the bus is away keeps what it can verify by
// itself, in its order, and gives it to its owners once it knows them; an event of
// several owners goes to all.
func TestStartWhileTheBusIsAway(t *testing.T) {
	o := unreached(t, func(o *outage) {
		g := &gate{T: t, bus: o.server}
		g.connect("u1", "con_1", "4242")
		g.connect("u2", "con_2", "4242")
	})
	local := newSpool(t, t.TempDir(), 0)
	g := openOn(t, o.client, func(c *Config) { c.Spool, c.Reached = local.JetStream(), o.reached })
	defer func() { g.close(); _ = local.Close() }()
	g.sendAll(0, 10)
	g.sendAll(9, 10) // the sender repeats himself
	if status, _ := g.send("github", g.issueOpened("d-nobody", 1)); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	bad := g.issueOpened("d-bad", 4242)
	bad.Body = append(bad.Body, ' ')
	if status, _ := g.send("github", bad); status != http.StatusUnauthorized {
		t.Errorf("a wrong signature: %d", status)
	}
	o.returns()
	g.eventually("all events", func() bool { return len(o.ids()) >= 21 })
	g.sendAll(10, 12)
	g.eventually("those after it", func() bool { return len(o.ids()) >= 25 })
	stream, err := o.server.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	byUser := map[string][]string{}
	for seq := range uint64(25) {
		msg, err := stream.GetMsg(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil || e.Extensions != nil || msg.Header.Get(headerUnaddressed) != "" || msg.Subject != events.EventSubject(e.UserID, "github", "issues.opened") {
			t.Errorf("%s: %+v, %v", msg.Subject, e, err)
		}
		byUser[e.UserID] = append(byUser[e.UserID], e.ID)
	}
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprintf("d-%03d", i))
	}
	if !slices.Equal(byUser["u1"], want) || !slices.Equal(byUser["u2"], want) || !slices.Equal(byUser[""], []string{"d-nobody"}) {
		t.Errorf("stored %v", byUser)
	}
}

// noEndpoints knows of none, and does not know yet whether there are others.
type noEndpoints struct {
	Endpoints
	loaded chan struct{}
}

func (n *noEndpoints) Loaded() <-chan struct{} { return n.loaded }

func (n *noEndpoints) Endpoint(string, string) (endpoint.Endpoint, bool, bool) {
	return endpoint.Endpoint{}, false, isClosed(n.loaded)
}

// noSecrets is the same of stored secrets.
type noSecrets struct{ loaded chan struct{} }

func (n *noSecrets) Loaded() <-chan struct{} { return n.loaded }

func (n *noSecrets) WebhookSecrets(string) ([]providers.Secret, bool) { return nil, isClosed(n.loaded) }

// What only the bus can tell is neither refused for good nor taken before the bus
// has told.
func TestUnknownIsToBeSentAgain(t *testing.T) {
	o := unreached(t, func(*outage) {})
	local := newSpool(t, t.TempDir(), 0)
	loaded := make(chan struct{})
	g := openOn(t, o.client, func(c *Config) {
		c.Spool, c.Reached, c.Endpoints, c.Secrets = local.JetStream(), o.reached, &noEndpoints{loaded: loaded}, &noSecrets{loaded}
	})
	defer func() { g.close(); _ = local.Close() }()
	d := g.issueOpened("d-1", 4242)
	if status, _ := g.send("github/whk_1", d); status != http.StatusServiceUnavailable {
		t.Errorf("an endpoint that nobody knows yet: %d", status)
	}
	if status, _ := g.send("slack", d); status != http.StatusServiceUnavailable {
		t.Errorf("an app whose secret may be stored: %d", status)
	}
	bad := g.issueOpened("d-1", 4242)
	bad.Body = append(bad.Body, ' ')
	if status, _ := g.send("github", bad); status != http.StatusServiceUnavailable {
		t.Errorf("a signature that may be of another secret: %d", status)
	}
	if status, _ := g.send("github", d); status != http.StatusOK {
		t.Errorf("a genuine one: %d", status)
	}
	if status, _ := g.send("nosuch", d); status != http.StatusNotFound {
		t.Errorf("no such provider: %d", status)
	}
	close(loaded)
	o.returns()
	g.eventually("the one that was kept", func() bool { return slices.Equal(o.ids(), []string{"d-1"}) })
	if status, _ := g.send("github/whk_1", d); status != http.StatusUnauthorized {
		t.Errorf("an endpoint that there is not: %d", status)
	}
}

// Without a spool nothing is taken, and the ingress is ready once the bus is
// there.
func TestStartWithoutBusAndSpool(t *testing.T) {
	o := unreached(t, func(*outage) {})
	service, err := New(Config{JetStream: o.client.JetStream(), Reached: o.reached, Providers: (&gate{T: t}).packs()})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Ready(t.Context()); err == nil || !strings.Contains(service.Unknown(), "all deliveries are refused") {
		t.Errorf("ready: %v; %s", err, service.Unknown())
	}
	g := serveOn(t, o.client, service, func(g *gate) {
		if status, _ := g.send("github", g.issueOpened("d-1", 1)); status != http.StatusServiceUnavailable {
			t.Errorf("status %d", status)
		}
		o.returns()
	})
	if status, _ := g.send("github", g.issueOpened("d-1", 1)); status != http.StatusOK || service.Unknown() != "" {
		t.Errorf("status %d; %s", status, service.Unknown())
	}
}
