package auth

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// fleet is several services on one bus, and a provider that forgives nothing.
type fleet struct {
	bus      *bus.Bus
	provider *oauthtest.Server
	pack     *providers.Pack
	cfg      Config
	log      *journal
	replicas []*Service
}

// newFleet makes a fleet without a replica. It goes by the provider's clock.
func newFleet(t testing.TB, cfg oauthtest.Config) *fleet {
	t.Helper()
	f := &fleet{bus: bustest.New(t, bustest.Listen), provider: oauthtest.New(t, cfg), pack: oauthtest.Pack(t), log: &journal{}}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"strict": f.pack}, map[string]providers.App{"strict": f.provider.App()})
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := OpenKeys(t.Context(), KeysConfig{
		JetStream: f.bus.JetStream(), Path: filepath.Join(t.TempDir(), "keyset.json"), Log: zerolog.New(f.log),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.cfg = Config{
		Parking: f.bus, Providers: registry, Keys: keys, APIKey: secret(apiKey), Log: zerolog.New(f.log),
		OAuth: oauth.New(oauth.Config{Now: cfg.Now}), Now: cfg.Now,
	}
	return f
}

// add makes one more replica, with a connection of its own to the bus. edit may
// change it before it is used; it may be nil.
func (f *fleet) add(t testing.TB, edit func(*Service)) *Service {
	t.Helper()
	conn, err := nats.Connect(f.bus.ClientURL(), nats.Name(fmt.Sprint("replica ", len(f.replicas))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	cfg := f.cfg
	cfg.Conn = conn
	if cfg.JetStream, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(s)
	}
	f.replicas = append(f.replicas, s)
	return s
}

// start runs s until the end of the test, or until the returned function is
// called, which waits for its end.
func (f *fleet) start(t testing.TB, s *Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	eventually(t, "the service to be ready", func() bool { return s.Ready(t.Context()) == nil })
	return stop
}

// move does the scheduler's work for the jobs of connections.
func (f *fleet) move(t testing.TB) {
	t.Helper()
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream: f.bus.JetStream(), Stream: events.StreamLater, Durable: func(string) string { return "mover" }, AckWait: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	messages, err := subscriber.Subscribe(ctx, events.PrefixDue+">")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for msg := range messages {
			received, err := events.ReceivedOf(msg)
			if err != nil {
				t.Error(err)
			}
			firing, err := bus.Due(received.Subject, events.HeaderOf(msg), received.Sequence)
			if err != nil {
				t.Error(err)
			}
			out := &nats.Msg{Subject: firing.Target, Header: firing.Header, Data: msg.Payload}
			if _, err := f.bus.JetStream().PublishMsg(ctx, out, jetstream.WithMsgID(firing.ID)); err != nil {
				msg.Nack()
				continue
			}
			_ = f.bus.Moved(ctx, received.Sequence)
			msg.Ack()
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// connect has a user authorise a connection.
func (f *fleet) connect(t testing.TB, user string) connection {
	t.Helper()
	c, err := f.replicas[0].store.connect(t.Context(), grantInput{
		UserID: user, Provider: "strict", Auth: "oauth", App: f.provider.App().ClientID, Credential: f.authorise(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// authorise plays the code flow.
func (f *fleet) authorise(t testing.TB) minted {
	t.Helper()
	auth, _ := f.pack.AuthByID("oauth")
	verifier := oauth.NewVerifier()
	target, err := oauth.AuthorizeURL(auth, f.provider.App(), oauth.AuthorizeInput{RedirectURI: oauthtest.RedirectURI, State: "s", Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	back, err := f.provider.Authorize(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	code, err := oauth.Callback(auth, back.Query())
	if err != nil {
		t.Fatal(err)
	}
	g, err := f.cfg.OAuth.Exchange(t.Context(), auth, f.provider.App(), oauth.ExchangeInput{Code: code, Verifier: verifier, RedirectURI: oauthtest.RedirectURI})
	if err != nil {
		t.Fatal(err)
	}
	return mintedOf(g)
}

// record reads what is kept of c.
func (f *fleet) record(t testing.TB, c events.Connection) kept {
	t.Helper()
	s := f.replicas[0].store
	entry, err := s.kv.Get(t.Context(), recordKey(c))
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.read(entry)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// changes counts the announcements of a change.
func (f *fleet) changes(t testing.TB, change events.Change) int {
	t.Helper()
	stream, err := f.bus.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(events.PrefixConnection+"*.*."+string(change)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// fast has a service wait less, for tokens that live for a second.
func fast(s *Service) {
	s.refresher.timing.lease = 10 * time.Second
	s.refresher.timing.call = 9 * time.Second
	s.refresher.timing.confirm = 300 * time.Millisecond
	s.refresher.timing.retry = 20 * time.Millisecond
}

// lines counts the lines of the log with a text.
func (j *journal) lines(text string) int { return strings.Count(j.String(), text) }
