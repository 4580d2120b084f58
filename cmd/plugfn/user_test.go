package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

// enter connects an application that has the seed file of a user.
func enter(t *testing.T, url, seed, user string, faults chan error) *nats.Conn {
	t.Helper()
	nkey, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(url, nkey, nats.NoReconnect(), nats.CustomInboxPrefix(events.ApplicationInbox(user)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { faults <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// TestClosedBus has an application come, act for its user and nobody else, and
// go.
func TestClosedBus(t *testing.T) {
	t.Parallel()
	dev, c := startDev(t, "PLUGFN_NATS_SECURE=true", "PLUGFN_STREAM_MAX_BYTES=64MiB")
	dir := filepath.Dir(filepath.Dir(c.APIKeyFile))
	if conn, err := nats.Connect(c.NATSURL); !errors.Is(err, nats.ErrAuthorization) {
		conn.Close()
		t.Fatalf("a stranger is let in: %v", err)
	}
	seed := filepath.Join(dir, "demo.nk")
	if code := start(t, dir, nil, "user", "add", demoUser, "--out", seed).wait(); code != exitOK {
		t.Fatalf("user add exits with %d", code)
	}
	if info, err := os.Stat(seed); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the seed file: %v, %v", info, err)
	}
	checkSize(t, c, 64<<20)
	faults := make(chan error, 10)
	conn := enter(t, c.NATSURL, seed, demoUser, faults)
	acted := subscribe(t, conn, "plugfn.result.demo.>")
	if err := conn.Publish("plugfn.action.demo.slack.chat.postMessage", []byte(`{"channel":"#demo","text":"hi"}`)); err != nil {
		t.Fatal(err)
	}
	if r, err := events.ParseResult(next(t, acted).Data); err != nil || r.Outcome != events.Succeeded {
		t.Errorf("the result is %+v, %v", r, err)
	}

	actAsUser(t, dir, c.NATSURL, seed)
	subscribe(t, conn, "plugfn.event.u2.>")
	if err := <-faults; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("listening to another user: %v", err)
	}
	if code := start(t, dir, nil, "user", "rm", demoUser, "--yes").wait(); code != exitOK {
		t.Fatalf("user rm exits with %d", code)
	}
	if err := eventually("the application is cut off", conn.IsClosed); err != nil {
		t.Error(err)
	}
	if code := dev.interrupt(); code != exitOK {
		t.Errorf("dev exits with %d: %s", code, &dev.stderr)
	}
}

// actAsUser has an application with the SDK do all that its key lets it do.
func actAsUser(t *testing.T, dir, url, seed string) {
	t.Helper()
	nkey, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	client, err := plugfn.Connect(url, plugfn.As(demoUser), plugfn.WithNATS(nkey))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	look := plugfn.Request{User: demoUser, Action: "github.repos.get", Params: map[string]string{"owner": "octo", "repo": "hello"}}
	if _, err := client.Do(ctx, look); err != nil {
		t.Error(err)
	}
	id, err := client.Submit(ctx, look)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as it comes, and as it is kept
		if r, err := client.Await(ctx, demoUser, id); err != nil || r.ID != id {
			t.Errorf("%s, %v", r.ID, err)
		}
	}
	if answer, err := client.Cancel(ctx, demoUser, id); err != nil || answer.State != events.CancelFinished {
		t.Errorf("%+v, %v", answer, err)
	}
	if all, err := client.Providers(ctx); err != nil || len(all) == 0 {
		t.Errorf("%d providers, %v", len(all), err)
	}
	if code := start(t, dir, nil, "trigger", "github", "issues.opened").wait(); code != exitOK {
		t.Fatalf("trigger exits with %d", code)
	}
	listening, stop := context.WithCancel(ctx)
	err = client.Events(listening, plugfn.Filter{InFlight: 1}, func(_ context.Context, e *plugfn.Event) error {
		if e.EventName == "issues.opened" { // its consumer has changes of connections as well
			stop()
		}
		return nil
	})
	if err != nil || ctx.Err() != nil {
		t.Errorf("events: %v, %v", err, ctx.Err())
	}
	if err := client.Events(ctx, plugfn.Filter{Provider: "github"}, nil); !errors.Is(err, plugfn.ErrInvalidParams) {
		t.Errorf("a filter of its own: %v", err)
	}
}

// checkSize asserts that commands leave the streams as the server made them.
func checkSize(t *testing.T, c contextFile, want int64) {
	t.Helper()
	nkey, err := nats.NkeyOptionFromSeed(c.AdminKey)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(c.NATSURL, nkey)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamActions)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.MaxBytes; got != want {
		t.Errorf("the stream takes %d bytes, want %d", got, want)
	}
}
