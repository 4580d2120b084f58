// Package tenancy_test runs all services together on a bus that asks who
// connects, each with the permissions of its role alone, and applications that
// have nothing but the credential of their user.
package tenancy_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func result(t *testing.T, body []byte) events.Result {
	t.Helper()
	r, err := events.ParseResult(body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEmbedded does everything on the embedded server.
func TestEmbedded(t *testing.T) {
	b := bustest.New(t, bustest.Listen, bustest.Secure)
	everything(open(t, b, b.ClientURL(), nil))
}

// TestOutside does everything on a server that has its configuration from
// bus.ServerConfig, and learns of users by reading it again.
func TestOutside(t *testing.T) {
	dir := t.TempDir()
	file, keys := filepath.Join(dir, "nats.conf"), filepath.Join(dir, "nkeys")
	roles, err := bus.RoleKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	configure := func(users []bus.User) {
		head := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream { store_dir: %q }\n", dir)
		if err := os.WriteFile(file, []byte(head+bus.ServerConfig(roles, users)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(nil)
	s := serve(t, file)
	b := bustest.New(t, func(c *bus.Config) { c.URL, c.NKey = s.ClientURL(), keys })
	everything(open(t, b, s.ClientURL(), func() {
		users, err := b.Users(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		configure(users)
		for range 2 { // a new account has its imports after the second
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
		}
	}))
}

// serve runs a server as an operator does.
func serve(t *testing.T, file string) *server.Server {
	t.Helper()
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(timeout) {
		t.Fatal("server does not get ready")
	}
	return s
}

// everything is all that applications and operators do.
func everything(h *house) {
	app, other := h.add("u 1"), h.add("u2")
	changes, live, results := app.hear("plugfn.connection.u=201.>"), app.hear("plugfn.event.u=201.fake.>"), app.hear("plugfn.result.u=201.>")
	unheard := other.hear("plugfn.event.u2.>")

	connection := h.connect("u 1", "4711")
	if got := app.next(changes).Subject; got != "plugfn.connection.u=201.fake.created" {
		h.Errorf("the connection was announced on %s", got)
	}
	if got := h.list("u 1"); !strings.Contains(got, connection) {
		h.Errorf("listed %s", got)
	}
	event(h, app, live)
	h.deliver("d-unreadable", "thing.made", `{"account":`)
	calls(h, app, connection)
	delayed(h, app, results)
	h.disconnect(connection)
	if got := app.next(changes).Subject; got != "plugfn.connection.u=201.fake.deleted" {
		h.Errorf("the end of the connection was announced on %s", got)
	}
	if n, _, _ := unheard.Pending(); n != 0 {
		h.Errorf("another user heard %d events", n)
	}
	everyone(h)
	discovered(h)
	app.checkFaults()
	other.checkFaults()
}

// event has a delivery heard live and pulled.
func event(h *house, app *application, live *nats.Subscription) {
	h.Helper()
	n := 0
	h.eventually("an event of the connection", func() bool { // the ingress has to learn of it first
		n++
		h.deliver(fmt.Sprint("d-", n), "thing.made", `{"account":"4711"}`)
		pending, _, _ := live.Pending()
		return pending > 0
	})
	if got := app.next(live).Subject; got != "plugfn.event.u=201.fake.thing.made" {
		h.Errorf("the event came on %s", got)
	}
	got := app.pulled(events.StreamEvents, 2)
	if got[0] != "plugfn.connection.u=201.fake.created" || got[1] != "plugfn.event.u=201.fake.thing.made" {
		h.Errorf("pulled %v", got)
	}
}

// calls has an action executed while the caller waits.
func calls(h *house, app *application, connection string) {
	h.Helper()
	request := nats.NewMsg("plugfn.call.u=201.fake.things.create")
	request.Header.Set(events.HeaderConnection, connection)
	request.Data = []byte(`{"title":"t"}`)
	var msg *nats.Msg
	h.eventually("an executor", func() (ok bool) {
		var err error
		msg, err = app.RequestMsg(request, timeout)
		return err == nil
	})
	if r := result(h.T, msg.Data); r.Outcome != events.Succeeded || r.UserID != "u 1" {
		h.Errorf("the call ended as %+v", r)
	}
	app.pulled(events.StreamResults, 1)
}

// delayed has an action executed later, with its result sent to an inbox.
func delayed(h *house, app *application, results *nats.Subscription) {
	h.Helper()
	app.next(results) // of the call
	inbox := app.NewInbox()
	answer := app.hear(inbox)
	request := events.ActionRequest{
		ID: "later", UserID: "u 1", Provider: "fake", Action: "things.create", Params: []byte(`{"title":"t"}`),
		NotBefore: time.Now().Add(300 * time.Millisecond), Reply: inbox,
	}
	if _, err := app.js.PublishMsg(h.Context(), request.Msg(request.Subject())); err != nil {
		h.Fatal(err)
	}
	for _, sub := range []*nats.Subscription{answer, results} {
		if r := result(h.T, app.next(sub).Data); r.ID != "later" || r.Outcome != events.Succeeded {
			h.Errorf("%s: %+v", sub.Subject, r)
		}
	}
	if got := app.pulled(events.StreamResults, 1); got[0] != "plugfn.result.u=201.fake.succeeded.later" {
		h.Errorf("pulled %v", got)
	}
	// the same id with something else is a dead letter
	request.Params, request.NotBefore = []byte(`{"title":"other"}`), time.Time{}
	if _, err := app.js.PublishMsg(h.Context(), request.Msg(request.Subject())); err != nil {
		h.Fatal(err)
	}
	if r := result(h.T, app.next(answer).Data); r.Outcome != events.Failed {
		h.Errorf("a reused id: %+v", r)
	}
}

// everyone is the operator's own backend, which acts for all users.
func everyone(h *house) {
	h.Helper()
	app := h.add(events.Everyone)
	heard := app.hear("plugfn.result.>")
	if _, err := app.js.Publish(h.Context(), "plugfn.action.u3.fake.things.create", []byte(`{"title":"t"}`)); err != nil {
		h.Fatal(err)
	}
	if r := result(h.T, app.next(heard).Data); r.UserID != "u3" || r.Error.Code != events.CodeConnectionNotFound {
		h.Errorf("the result is %+v", r)
	}
	app.pulled(events.StreamResults, 1)
	app.checkFaults()
}

// discovered finds the services as `nats micro` does.
func discovered(h *house) {
	h.Helper()
	for _, name := range []string{"plugfn-executor", "plugfn-auth"} {
		for _, verb := range []string{"PING", "INFO", "STATS"} {
			msg, err := h.admin.Conn().Request("$SRV."+verb+"."+name, nil, timeout)
			if err != nil || !bytes.Contains(msg.Data, []byte(name)) {
				h.Errorf("%s %s: %v", verb, name, err)
			}
		}
	}
	for _, b := range h.roles { // a service looks whether it is there itself
		if name := map[bus.Role]string{bus.RoleExecutor: "plugfn-executor", bus.RoleAuth: "plugfn-auth"}[b.Role()]; name != "" {
			if _, err := b.Conn().Request("$SRV.PING."+name, nil, timeout); err != nil {
				h.Errorf("%s: %v", name, err)
			}
		}
		if err := b.Ready(h.Context()); err != nil {
			h.Errorf("%s: %v", b.Role(), err)
		}
	}
}
