package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func optionsOfPassword() server.Options {
	return server.Options{JetStream: true, Users: account("sesame")}
}

func newPair(t *testing.T) (public string, seed []byte) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	return public, seed
}

func signer(t *testing.T, seed []byte) nats.SignatureHandler {
	t.Helper()
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Sign
}

func addUser(t *testing.T, b *bus.Bus, user string) bus.Credential {
	t.Helper()
	c, err := b.AddUser(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// enter connects with a credential.
func enter(t *testing.T, url string, c bus.Credential, options ...nats.Option) *nats.Conn {
	t.Helper()
	return dial(t, url, append(options, nats.Nkey(c.Key, signer(t, c.Seed())), nats.CustomInboxPrefix(c.InboxPrefix()))...)
}

func users(t *testing.T, b *bus.Bus) (ids []string) {
	t.Helper()
	all, err := b.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all {
		ids = append(ids, fmt.Sprint(u.ID, " ", len(u.Keys)))
	}
	return ids
}

// TestUserSurvivesRestart has a client reconnect to a server that starts again.
func TestUserSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	at := func(c *bus.Config) { c.Addr = addr }
	b := newClosed(t, bustest.Dir(dir), at)
	c := addUser(t, b, "u1")
	back := make(chan struct{}, 1)
	conn := enter(t, b.ClientURL(), c, nats.ReconnectWait(time.Millisecond), nats.MaxReconnects(-1),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	bustest.Close(t, b)
	b = newClosed(t, bustest.Dir(dir), at)
	<-back
	if d := cmp.Diff([]string{"u1 1"}, users(t, b)); d != "" {
		t.Error(d)
	}
	if !mayPublish(t, conn, "plugfn.action.u1.p.a") {
		t.Error("the user may not publish after a restart")
	}
}

// TestOpenStoreIsClosed has a store that was open before keep what it has.
func TestOpenStoreIsClosed(t *testing.T) {
	dir := t.TempDir()
	b := bustest.New(t, bustest.Dir(dir))
	publish(t, b, "plugfn.event.u1.p.e", nil)
	_, err := b.AddUser(t.Context(), "u1")
	wantError(t, err, `adding user "u1"`, "open it with Secure")
	bustest.Close(t, b)
	b = newClosed(t, bustest.Dir(dir))
	if n := info(t, b, events.StreamEvents).State.Msgs; n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestRemovedUserIsDisconnected(t *testing.T) {
	b := newClosed(t)
	first, second := addUser(t, b, "u1"), addUser(t, b, "u1")
	closed := make(chan string, 2)
	watch := func(name string) nats.Option { return nats.ClosedHandler(func(*nats.Conn) { closed <- name }) }
	for name, c := range map[string]bus.Credential{"first": first, "second": second} {
		enter(t, b.ClientURL(), c, watch(name), nats.ReconnectWait(time.Millisecond))
	}
	if d := cmp.Diff([]string{"u1 2"}, users(t, b)); d != "" {
		t.Error(d)
	}
	if err := b.RemoveUser(t.Context(), "u1", first.Key); err != nil {
		t.Fatal(err)
	}
	if got := <-closed; got != "first" {
		t.Errorf("%s was disconnected", got)
	}
	if _, err := b.JetStream().Consumer(t.Context(), events.StreamEvents, "app-u1"); err != nil {
		t.Errorf("the consumer of a user with a key left: %v", err)
	}
	wantNoUser(t, b.RemoveUser(t.Context(), "u1", first.Key))
	wantNoUser(t, b.RemoveUser(t.Context(), "u1", second.Key, first.Key))

	if err := b.RemoveUser(t.Context(), "u1"); err != nil {
		t.Fatal(err)
	}
	if got := <-closed; got != "second" {
		t.Errorf("%s was disconnected", got)
	}
	for _, stream := range []string{events.StreamEvents, events.StreamResults} {
		if _, err := b.JetStream().Consumer(t.Context(), stream, "app-u1"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Errorf("the consumer of a removed user: %v", err)
		}
	}
	wantNoUser(t, b.RemoveUser(t.Context(), "u1"))
	if d := cmp.Diff([]string(nil), users(t, b)); d != "" {
		t.Error(d)
	}
	if !mayPublish(t, enter(t, b.ClientURL(), addUser(t, b, "u1")), "plugfn.action.u1.p.a") {
		t.Error("a user who is back may not publish")
	}
}

// TestRemovalWhileConnecting has no client slip past the removal of its key.
func TestRemovalWhileConnecting(t *testing.T) {
	b := newClosed(t)
	c := addUser(t, b, "u1")
	options := []nats.Option{nats.Nkey(c.Key, signer(t, c.Seed())), nats.NoReconnect()}
	var open, connecting sync.WaitGroup
	closed := nats.ClosedHandler(func(*nats.Conn) { open.Done() })
	for range 4 {
		connecting.Go(func() {
			for {
				open.Add(1)
				if _, err := nats.Connect(b.ClientURL(), append(options, closed)...); err != nil {
					open.Done()
					return
				}
			}
		})
	}
	if err := b.RemoveUser(t.Context(), "u1"); err != nil {
		t.Fatal(err)
	}
	connecting.Wait()
	open.Wait() // every connection that was let in is cut
}

func wantNoUser(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, bus.ErrNoUser) {
		t.Errorf("error %v, want ErrNoUser", err)
	}
}

// TestPlaceIsKept has a user's consumer begin when he is added and keep its
// place from one credential to the next.
func TestPlaceIsKept(t *testing.T) {
	b := newClosed(t)
	publish(t, b, "plugfn.event.u1.p.e", []byte("before"))
	first := addUser(t, b, "u1")
	for _, subject := range []string{"plugfn.event.u1.p.e", "plugfn.event.u2.p.e", "plugfn.connection.u1.p.created"} {
		publish(t, b, subject, []byte(subject))
	}
	if got := pull(t, b, first); got != "plugfn.event.u1.p.e" {
		t.Errorf("pulled %q", got)
	}
	second := addUser(t, b, "u1")
	if err := b.RemoveUser(t.Context(), "u1", first.Key); err != nil {
		t.Fatal(err)
	}
	if got := pull(t, b, second); got != "plugfn.connection.u1.p.created" {
		t.Errorf("pulled %q", got)
	}
}

// pull takes one message from the consumer of events.
func pull(t *testing.T, b *bus.Bus, c bus.Credential) string {
	t.Helper()
	js, err := jetstream.New(enter(t, b.ClientURL(), c))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), events.StreamEvents, events.ApplicationName(c.User))
	if err != nil {
		t.Fatal(err)
	}
	msg, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	return string(msg.Data())
}

func TestAddUserRefuses(t *testing.T) {
	b := newClosed(t)
	for user, want := range map[string]string{
		"":                       "empty",
		"_":                      "no user",
		strings.Repeat("x", 257): "longer than 256 bytes",
		"a\nb":                   "control characters",
		"\xff":                   "valid UTF-8",
	} {
		_, err := b.AddUser(t.Context(), user)
		wantError(t, err, want)
		wantError(t, b.RemoveUser(t.Context(), user), want)
	}
	if d := cmp.Diff([]string(nil), users(t, b)); d != "" {
		t.Error(d)
	}
}

// TestManyAtOnce adds keys to one user from all sides, up to the limit.
func TestManyAtOnce(t *testing.T) {
	b := newClosed(t)
	var wait sync.WaitGroup
	errs := make(chan error, 10)
	for range cap(errs) {
		wait.Go(func() {
			_, err := b.AddUser(background, "u1")
			errs <- err
		})
	}
	wait.Wait()
	close(errs)
	added := 0
	for err := range errs {
		if err == nil {
			added++
		} else if !strings.Contains(err.Error(), "there are 8 keys") && !strings.Contains(err.Error(), "try again") {
			t.Error(err)
		}
	}
	if d := cmp.Diff([]string{fmt.Sprint("u1 ", added)}, users(t, b)); d != "" || added == 0 || added > 8 {
		t.Errorf("%d added: %s", added, d)
	}
}

// TestForeignRecordAdmitsNobody writes records that AddUser does not write.
func TestForeignRecordAdmitsNobody(t *testing.T) {
	var log lockedBuffer
	b := newClosed(t, func(c *bus.Config) { c.Log = zerolog.New(&log) })
	c := addUser(t, b, "u1")
	kv, err := b.JetStream().KeyValue(t.Context(), bus.BucketUsers)
	if err != nil {
		t.Fatal(err)
	}
	stranger, seed := newPair(t)
	records := map[string]string{
		"app-u1": "not JSON",
		"app-u2": fmt.Sprintf(`{"id":"u3","keys":[{"public":%q}]}`, stranger),
		"other":  fmt.Sprintf(`{"id":"other","keys":[{"public":%q}]}`, stranger),
		"app-_":  fmt.Sprintf(`{"id":"","keys":[{"public":%q}]}`, stranger),
	}
	for key, record := range records {
		if _, err := kv.PutString(t.Context(), key, record); err != nil {
			t.Fatal(err)
		}
	}
	addUser(t, b, "u9") // and what was written before has been read
	for _, option := range []nats.Option{nats.Nkey(stranger, signer(t, seed)), nats.Nkey(c.Key, signer(t, c.Seed()))} {
		conn, err := nats.Connect(b.ClientURL(), option)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("let in: %v", err)
		}
	}
	if d := cmp.Diff([]string{"u9 1"}, users(t, b)); d != "" {
		t.Error(d)
	}
	_, err = b.AddUser(t.Context(), "u1")
	wantError(t, err, "record app-u1", "nats kv purge PLUGFN_USERS app-u1")
	for key := range records {
		if !strings.Contains(log.String(), key) {
			t.Errorf("the log does not name record %s", key)
		}
	}
}

// TestSecretOfACredential has the seed in no text but its own.
func TestSecretOfACredential(t *testing.T) {
	var log lockedBuffer
	b := newClosed(t, func(c *bus.Config) { c.Log = zerolog.New(&log) })
	c := addUser(t, b, "u1")
	seed := string(c.Seed())
	if !strings.HasPrefix(seed, "SU") {
		t.Fatalf("seed %q", seed)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %x %d", c, c, &c, c, c, c)
	if strings.Contains(printed, seed) || strings.Contains(log.String(), seed) {
		t.Errorf("the seed is in %s or in %s", printed, log.String())
	}
	for _, name := range []string{"KV_" + bus.BucketUsers} {
		s, err := b.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := s.GetMsg(t.Context(), s.CachedInfo().State.LastSeq)
		if err != nil || strings.Contains(string(msg.Data), seed) || !strings.Contains(string(msg.Data), c.Key) {
			t.Errorf("the record is %s, %v", msg.Data, err)
		}
	}
}

// TestUsersOnlyByAdmins has a role fail, and say why.
func TestUsersOnlyByAdmins(t *testing.T) {
	guest := as(t, newClosed(t), executor)
	_, err := guest.AddUser(t.Context(), "u1")
	wantError(t, err, "role executor", "connect as admin")
	wantError(t, guest.RemoveUser(t.Context(), "u1"), "role executor", "connect as admin")
	wantError(t, guest.Declare(t.Context()), "role executor", "connect as admin")
}
