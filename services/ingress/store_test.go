package ingress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// outage is a bus in a server of its own, which can be taken away.
type outage struct {
	*testing.T
	dir    string
	addr   string
	server *bus.Bus // as admin, in the server's process
	client *bus.Bus // as an ingress elsewhere has it

	reached chan struct{} // of a client that began without its server
}

func newOutage(t *testing.T) *outage {
	o := &outage{T: t, dir: t.TempDir()}
	o.server = bustest.New(t, bustest.Listen, bustest.Dir(o.dir))
	o.addr = strings.TrimPrefix(o.server.ClientURL(), "nats://")
	o.client = bustest.New(t, func(c *bus.Config) { c.URL = o.server.ClientURL() })
	return o
}

func (o *outage) begin() { bustest.Close(o.T, o.server) }

func (o *outage) end() {
	o.server = bustest.New(o.T, bustest.Dir(o.dir), func(c *bus.Config) { c.Addr = o.addr })
	for deadline := time.Now().Add(10 * time.Second); !o.client.Conn().IsConnected(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.Fatal("not connected again")
		}
	}
}

// ids are those of the stored events, in their order.
func (o *outage) ids() (ids []string) {
	o.Helper()
	stream, err := o.server.JetStream().Stream(o.Context(), events.StreamEvents)
	if err != nil {
		o.Fatal(err)
	}
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		msg, err := stream.GetMsg(o.Context(), seq)
		if err != nil {
			o.Fatal(err)
		}
		ids = append(ids, msg.Header.Get("ce-id"))
	}
	return ids
}

func newSpool(t *testing.T, dir string, maxBytes int64) *bus.Spool {
	t.Helper()
	s, err := bus.OpenSpool(t.Context(), bus.SpoolConfig{Dir: dir, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (g *gate) sendAll(from, to int) {
	g.Helper()
	for i := from; i < to; i++ {
		if status, body := g.send("github", g.issueOpened(fmt.Sprintf("d-%03d", i), 4242)); status != http.StatusOK {
			g.Fatalf("delivery %d: %d %s", i, status, body)
		}
	}
}

// All deliveries of an outage, of before and of after, arrive once and in their
// order; also when the ingress is started anew in the middle of it.
func TestSpoolOutlivesAnOutage(t *testing.T) {
	o, dir := newOutage(t), t.TempDir()
	local := newSpool(t, dir, 0)
	g := openOn(t, o.client, func(c *Config) { c.Spool = local.JetStream() })
	g.sendAll(0, 5)
	o.begin()
	g.sendAll(5, 20)
	g.sendAll(18, 20) // the sender repeats himself
	g.close()
	if err := local.Close(); err != nil {
		t.Fatal(err)
	}
	o.end()
	local = newSpool(t, dir, 0)
	g = openOn(t, o.client, func(c *Config) { c.Spool = local.JetStream() })
	defer func() { g.close(); _ = local.Close() }()
	g.sendAll(20, 25)
	o.begin()
	g.sendAll(25, 30)
	o.end()
	g.sendAll(30, 35)
	g.eventually("all events", func() bool { return len(o.ids()) >= 35 })
	var want []string
	for i := range 35 {
		want = append(want, fmt.Sprintf("d-%03d", i))
	}
	if got := o.ids(); !slices.Equal(got, want) {
		t.Errorf("stored %v", got)
	}
	stream, err := local.JetStream().Stream(t.Context(), bus.StreamSpool)
	if err != nil {
		t.Fatal(err)
	}
	g.eventually("an empty spool", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
}

// A spool without room refuses, and takes again once it has forwarded.
func TestFullSpoolRefuses(t *testing.T) {
	o, local := newOutage(t), newSpool(t, t.TempDir(), 1<<20)
	g := openOn(t, o.client, func(c *Config) { c.Spool = local.JetStream() })
	defer func() { g.close(); _ = local.Close() }()
	o.begin()
	taken, body := 0, fmt.Sprintf(`{"action":"opened","repository":{"id":1},"text":"%0200000d"}`, 0)
	for ; taken < 10; taken++ {
		if status, _ := g.send("github", g.signed(fmt.Sprint("d-", taken), "issues", body)); status == http.StatusServiceUnavailable {
			break
		}
	}
	if taken == 0 || taken > 5 {
		t.Errorf("took %d deliveries of 200,000 bytes into 1 MiB", taken)
	}
	o.end()
	g.eventually("the bus", func() bool { return len(o.ids()) == taken })
	if status, _ := g.send("github", g.signed("d-last", "issues", body)); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

func TestWithoutSpoolAnOutageIsToldToTheSender(t *testing.T) {
	o := newOutage(t)
	g := openOn(t, o.client)
	o.begin()
	if status, _ := g.send("github", g.issueOpened("d-1", 4242)); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
	o.end()
	g.eventually("the bus", func() bool {
		status, _ := g.send("github", g.issueOpened("d-1", 4242))
		return status == http.StatusOK
	})
}

// A spool that has failed says so, and takes nothing.
func TestBrokenSpool(t *testing.T) {
	o, local := newOutage(t), newSpool(t, t.TempDir(), 0)
	g := openOn(t, o.client, func(c *Config) { c.Spool = local.JetStream() })
	defer func() { g.close(); _ = local.Close() }()
	stream, err := local.JetStream().Stream(t.Context(), bus.StreamSpool)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.Sealed = true // what comes nearest to a disk that cannot be written
	if _, err := local.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	o.begin()
	for range 2 {
		if status, _ := g.send("github", g.issueOpened("d-1", 4242)); status != http.StatusServiceUnavailable {
			t.Errorf("status %d", status)
		}
	}
}

// A body that is too long for a message of the bus is stored beside it; also when
// it has waited in the spool.
func TestLargeBodyTravelsApart(t *testing.T) {
	o, local := newOutage(t), newSpool(t, t.TempDir(), 0)
	g := openOn(t, o.client, func(c *Config) { c.Spool = local.JetStream() })
	defer func() { g.close(); _ = local.Close() }()
	send := func(id string) []byte {
		d := g.signed(id, "issues", fmt.Sprintf(`{"action":"opened","repository":{"id":1},"id":%q,"text":"%03000000d"}`, id, 0))
		if status, body := g.send("github", d); status != http.StatusOK {
			t.Fatalf("%s: %d %s", id, status, body)
		}
		return d.Body
	}
	sent := [][]byte{send("d-1")}
	o.begin()
	sent = append(sent, send("d-2"))
	o.end()
	g.eventually("the event of the outage", func() bool { return len(o.ids()) == 2 })
	stream, err := o.server.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range sent {
		msg, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil || len(e.Data) > 0 || e.DataRef.Size != int64(len(want)) {
			t.Fatalf("%+v, %v", e.DataRef, err)
		}
		err = events.Payloads{Conn: o.client.Conn()}.Resolve(t.Context(), &e, 4<<20)
		if err != nil || !bytes.Equal(e.Data, want) {
			t.Errorf("%s: %d bytes of %d, %v", e.ID, len(e.Data), len(want), err)
		}
	}
}

// Whatever a sender puts into names, ids and keys, the connection to the bus
// stays as it is.
func TestHostileNamesDoNotBreakTheBus(t *testing.T) {
	g := open(t)
	hostile := []string{"", "*", ">", "a.*.>", ".", "..", " ", "\u0000", "\r\nNats-Batch-Id: x", "é漢字", "$JS.API.STREAM.DELETE.PLUGFN_EVENTS", strings.Repeat("x", 5000), strings.Repeat("x.", 2500)}
	before := g.bus.JetStream().Conn().Stats().Reconnects
	for i, name := range hostile {
		text, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"action":%[1]s,"issue":{"number":%[1]s},"repository":{"id":%[1]s,"full_name":%[1]s},"installation":{"id":%[1]s}}`, text)
		d := g.signed(fmt.Sprint("d-", i), "issues", body)
		if len(name) > 0 && !strings.ContainsAny(name, "\r\n\u0000") {
			d.Header["X-Github-Delivery"] = []string{name}
		}
		if status, answer := g.send("github", d); status != http.StatusOK {
			t.Errorf("%.20q: %d %s", name, status, answer)
		}
	}
	if conn := g.bus.JetStream().Conn(); !conn.IsConnected() || conn.Stats().Reconnects != before || conn.LastError() != nil {
		t.Errorf("the connection is %s after %v", conn.Status(), conn.LastError())
	}
	stored := uint64(0)
	for _, stream := range []string{events.StreamEvents, events.StreamDead} {
		for _, n := range g.stored(stream) {
			stored += n
		}
	}
	if stored != uint64(len(hostile)) {
		t.Errorf("%d of %d are stored", stored, len(hostile))
	}
}
