package bus_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// TestWhatUsersMayDo tries everything with a user's credential.
func TestWhatUsersMayDo(t *testing.T) {
	b := newClosed(t)
	addUser(t, b, "u2")
	checkUser(t, b, b.ClientURL(), addUser(t, b, "u1"))
}

// checkUser tries everything that u1 may do and may not do.
func checkUser(t *testing.T, b *bus.Bus, url string, c bus.Credential) {
	t.Helper()
	conn := enter(t, url, c)
	for subject, want := range map[string]bool{
		"plugfn.action.u1.p.a":                            true,
		"plugfn.call.u1.p.a":                              true,
		"$JS.API.CONSUMER.INFO.PLUGFN_EVENTS.app-u1":      true,
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_EVENTS.app-u1":  true,
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_RESULTS.app-u1": true,
		"$JS.ACK.PLUGFN_RESULTS.app-u1.1.1.1.1.1":         true,

		"$JS.API.DIRECT.GET.PLUGFN_PAYLOADS.plugfn.payload.u1.a.0": true,

		"$JS.API.DIRECT.GET.PLUGFN_PAYLOADS.plugfn.payload.u2.a.0": false,
		"$JS.API.DIRECT.GET.PLUGFN_PAYLOADS.plugfn.payload._.a.0":  false,
		"$JS.API.DIRECT.GET.PLUGFN_PAYLOADS.plugfn.payload.*.a.0":  false,
		"$JS.API.DIRECT.GET.PLUGFN_PAYLOADS.plugfn.payload.>":      false,
		"$JS.API.DIRECT.GET.PLUGFN_PAYLOADS":                       false,
		"plugfn.payload.u1.a.0":                                    true,
		"plugfn.payload.u2.a.0":                                    false,

		"plugfn.action.u2.p.a":           false,
		"plugfn.action._.p.a":            false,
		"plugfn.action.u11.p.a":          false,
		"plugfn.call.u2.p.a":             false,
		"plugfn.event.u1.p.e":            false,
		"plugfn.event.u2.p.e":            false,
		"plugfn.result.u1.p.succeeded.1": false,
		"plugfn.connection.u1.p.created": false,
		"plugfn.run.u1.w.s":              false,
		"plugfn.later.action.u1.a":       false,
		"plugfn.due.action.u1":           false,
		"plugfn.dead.action.u1.p.a":      false,
		"plugfn.svc.auth.token":          false,

		"plugfn.svc.scheduler.schedules.u1.list":  true,
		"plugfn.svc.scheduler.schedules.u1.get.s": true,
		"plugfn.svc.scheduler.schedules.u2.list":  false,
		"plugfn.svc.scheduler.runs.u1.list":       true,
		"plugfn.svc.scheduler.runs.u2.list":       false,
		"plugfn.svc.scheduler.wake.u1.s":          false,

		"$KV.PLUGFN_CONNECTIONS.u1.p.c": false,
		"$KV.PLUGFN_USERS.app":          false,
		"$SRV.PING":                     false,
		"$SYS.REQ.SERVER.PING":          false,
		"_INBOX.app-u2.a":               false,
		"_PLUGFN_INBOX.executor.a":      false,

		"$JS.API.INFO":                                    false,
		"$JS.API.STREAM.NAMES":                            false,
		"$JS.API.STREAM.INFO.PLUGFN_EVENTS":               false,
		"$JS.API.STREAM.DELETE.PLUGFN_EVENTS":             false,
		"$JS.API.STREAM.PURGE.PLUGFN_EVENTS":              false,
		"$JS.API.STREAM.MSG.GET.PLUGFN_EVENTS":            false,
		"$JS.API.DIRECT.GET.PLUGFN_EVENTS":                false,
		"$JS.API.CONSUMER.NAMES.PLUGFN_EVENTS":            false,
		"$JS.API.CONSUMER.CREATE.PLUGFN_EVENTS.app-u1":    false,
		"$JS.API.CONSUMER.CREATE.PLUGFN_EVENTS.x.>":       false,
		"$JS.API.CONSUMER.DELETE.PLUGFN_EVENTS.app-u1":    false,
		"$JS.API.CONSUMER.DELETE.PLUGFN_EVENTS.app-u2":    false,
		"$JS.API.CONSUMER.INFO.PLUGFN_EVENTS.app-u2":      false,
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_EVENTS.app-u2":  false,
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_EVENTS.app":     false,
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_RESULTS.app-u2": false,
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_LATER.mover":    false,
		"$JS.API.CONSUMER.RESET.PLUGFN_EVENTS.app-u1":     false,
		"$JS.ACK.PLUGFN_EVENTS.app-u2.1.1.1.1.1":          false,
		"$JS.ACK.PLUGFN_ACTIONS.executor.1.1.1.1.1":       false,
	} {
		if got := mayPublish(t, conn, subject); got != want {
			t.Errorf("user u1 may publish %s: %v, want %v", subject, got, want)
		}
	}
	for subject, want := range map[string]bool{
		"plugfn.event.u1.>":      true,
		"plugfn.event.u1.p.*":    true,
		"plugfn.result.u1.>":     true,
		"plugfn.connection.u1.>": true,
		"plugfn.run.u1.>":        true,
		"_INBOX.app-u1.a.*":      true,

		">":                            false,
		"plugfn.>":                     false,
		"plugfn.event.>":               false,
		"plugfn.event.*.p.e":           false,
		"plugfn.event.u2.>":            false,
		"plugfn.event._.>":             false,
		"plugfn.result.u2.>":           false,
		"plugfn.connection.>":          false,
		"plugfn.action.u1.>":           false,
		"plugfn.call.>":                false,
		"plugfn.svc.>":                 false,
		"plugfn.svc.auth.token":        false,
		"plugfn.due.>":                 false,
		"_INBOX.>":                     false,
		"_INBOX.a.*":                   false,
		"_INBOX.app-u2.a.*":            false,
		"_INBOX.app.a.*":               false,
		"_PLUGFN_INBOX.executor.a.*":   false,
		"$KV.PLUGFN_CONNECTIONS.>":     false,
		"$JS.EVENT.>":                  false,
		"$SYS.>":                       false,
		"$SRV.PING":                    false,
		"_R_.>":                        false,
		"_GR_.>":                       false,
		"$JS.API.>":                    false,
		"plugfn.result.u1":             false,
		"plugfn.result.u1.p.failed.id": true,
	} {
		if got := maySubscribe(t, conn, subject); got != want {
			t.Errorf("user u1 may subscribe to %s: %v, want %v", subject, got, want)
		}
	}
	if b.Faults() != 0 {
		t.Errorf("%d faults of the admin", b.Faults())
	}
	checkPayloads(t, b, conn)
}

// checkPayloads reads payloads as u1, who knows the hashes of all of them.
func checkPayloads(t *testing.T, b *bus.Bus, u1 *nats.Conn) {
	t.Helper()
	data := bytes.Repeat([]byte("secret"), 200_000)
	for _, user := range []string{"u1", "u2"} {
		ref, err := events.Payloads{Conn: b.Conn()}.Put(t.Context(), user, data)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err := events.Payloads{Conn: u1}.Get(ctx, ref, 2<<20)
		if (err == nil && bytes.Equal(got, data)) != (user == "u1") {
			t.Errorf("user u1 reads a payload of %s: %d bytes, %v", user, len(got), err)
		}
		// A request for his own that names another one in its body.
		own := strings.Replace(ref.Subject, "."+user+".", ".u1.", 1)
		reply, err := u1.RequestWithContext(ctx, "$JS.API.DIRECT.GET.PLUGFN_PAYLOADS."+own+".0", []byte(`{"last_by_subj":"plugfn.payload.u2.>","seq":1,"batch":5,"multi_last":[">"]}`))
		if err == nil && bytes.Contains(reply.Data, []byte("secret")) && !strings.HasPrefix(reply.Header.Get("Nats-Subject"), "plugfn.payload.u1.") {
			t.Errorf("user u1 got %s", reply.Header.Get("Nats-Subject"))
		}
	}
}

// TestRepliesStayAtHome has the server send its own messages where a user
// says, as the reply to what he may publish. With nobody's permissions it would
// overwrite a connection, forge an event or an action of another user.
func TestRepliesStayAtHome(t *testing.T) {
	b := newClosed(t)
	checkReplies(t, b, b.ClientURL(), addUser(t, b, "u1"), addUser(t, b, "u2"))
}

func checkReplies(t *testing.T, b *bus.Bus, url string, attacker, victim bus.Credential) {
	t.Helper()
	kv, err := b.JetStream().KeyValue(t.Context(), events.BucketConnections)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kv.PutString(t.Context(), "u2.p.c", "record")
	if err != nil {
		t.Fatal(err)
	}
	heard, err := enter(t, url, victim).SubscribeSync("plugfn.event.u2.>")
	if err != nil {
		t.Fatal(err)
	}
	published, finished := info(t, b, events.StreamActions).State.Msgs, info(t, b, events.StreamResults).State.Msgs
	conn := enter(t, url, attacker)
	n := 0
	for _, reply := range []string{
		"$KV.PLUGFN_CONNECTIONS.u2.p.c", "$KV.PLUGFN_USERS.app-u2", "plugfn.event.u2.p.e", "plugfn.action.u2.p.a",
		"plugfn.result.u2.p.succeeded.1", "$JS.API.STREAM.PURGE.PLUGFN_ACTIONS", "$JS.API.STREAM.MSG.DELETE.PLUGFN_ACTIONS",
		"plugfn.svc.auth.token", victim.InboxPrefix() + ".a",
	} {
		for subject, body := range map[string]string{
			"plugfn.action.u1.p.a":                           "{}",
			"$JS.API.CONSUMER.INFO.PLUGFN_EVENTS.app-u1":     "",
			"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_EVENTS.app-u1": `{"batch":1,"no_wait":true}`,
		} {
			publish(t, b, "plugfn.event.u1.p.e", []byte(`{}`))
			if err := conn.PublishRequest(subject, reply, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		n++
	}
	// The answer to this comes after all that was asked before.
	for range 2 {
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "plugfn.action.u1.p.last", nil); err != nil {
			t.Fatal(err)
		}
		n++
	}
	entry, err := kv.Get(t.Context(), "u2.p.c")
	if err != nil || entry.Revision() != revision || string(entry.Value()) != "record" {
		t.Errorf("the record of another user is %v, %v", entry, err)
	}
	if got := info(t, b, "KV_"+events.BucketConnections).State.LastSeq; got != revision {
		t.Errorf("the bucket of connections is at %d, want %d", got, revision)
	}
	state := info(t, b, events.StreamActions).State
	if state.Msgs-published != uint64(n) {
		t.Errorf("%d requests, want %d", state.Msgs-published, n)
	}
	if n, _, _ := heard.Pending(); n != 0 {
		t.Errorf("another user heard %d events", n)
	}
	if n := info(t, b, events.StreamResults).State.Msgs; n != finished {
		t.Errorf("%d results, want %d", n, finished)
	}
}

// TestTraceStaysAtHome has the server told to report on a message elsewhere.
func TestTraceStaysAtHome(t *testing.T) {
	b := newClosed(t)
	conn := enter(t, b.ClientURL(), addUser(t, b, "u1"))
	msg := nats.NewMsg("plugfn.action.u1.p.a")
	msg.Header.Set("Nats-Trace-Dest", "plugfn.event.u2.p.e")
	if err := conn.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "plugfn.action.u1.p.last", nil); err != nil {
		t.Fatal(err)
	}
	if n := info(t, b, events.StreamEvents).State.Msgs; n != 0 {
		t.Errorf("%d events", n)
	}
}
