package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const apiKey = "key-of-the-tests"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := runChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// rig is a service on a bus of its own.
type rig struct {
	*Service
	bus  *bus.Bus
	keys KeysConfig
	cfg  Config
	log  *journal

	connections, keysets jetstream.KeyValue // the buckets
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{bus: bustest.New(t), log: &journal{}}
	r.keys = KeysConfig{
		JetStream: r.bus.JetStream(),
		Path:      filepath.Join(t.TempDir(), "keys", "keyset.json"),
		Log:       zerolog.New(r.log),
	}
	r.connections, r.keysets = bucket(t, r.bus, events.BucketConnections), bucket(t, r.bus, bus.BucketKeys)
	keys, created, err := OpenKeys(t.Context(), r.keys)
	if err != nil || !created {
		t.Fatalf("opening keys for the first time: created %v, %v", created, err)
	}
	r.cfg = Config{
		Conn:      r.bus.Conn(),
		JetStream: r.bus.JetStream(),
		Parking:   r.bus,
		Providers: packs(t),
		Keys:      keys,
		APIKey:    providers.NewSecret([]byte(apiKey)),
		Log:       zerolog.New(r.log),
	}
	r.Service, err = New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.followConnections(t)
	return r
}

// followConnections keeps the index of the service up to date, also while it does not run.
func (r *rig) followConnections(t testing.TB) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	followed := r.store // tests replace it
	go func() { defer close(ended); followed.follow(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	if err := followed.index.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// serve runs the service until the end of the test.
func (r *rig) serve(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for { // until somebody answers
		_, err := r.bus.Conn().Request(subjectToken, nil, time.Second)
		if err == nil {
			return
		}
		if !errors.Is(err, nats.ErrNoResponders) {
			t.Fatal(err)
		}
	}
}

// connect keeps a connection of a user.
func (r *rig) connect(t testing.TB, user, provider, token string) events.Connection {
	t.Helper()
	c, err := r.create(t.Context(), newConnection{UserID: user, Provider: provider, Token: secret(token)})
	if err != nil {
		t.Fatal(err)
	}
	return c.Connection
}

// change rewrites the record of c.
func (r *rig) change(t testing.TB, c events.Connection, edit func(*record)) {
	t.Helper()
	entry, err := r.connections.Get(t.Context(), recordKey(c))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := decodeRecord(entry.Key(), entry.Value())
	if err != nil {
		t.Fatal(err)
	}
	edit(&changed)
	value, err := changed.encode()
	if err != nil {
		t.Fatal(err)
	}
	r.overwrite(t, c, value)
}

func (r *rig) overwrite(t testing.TB, c events.Connection, value []byte) {
	t.Helper()
	if _, err := r.connections.Put(t.Context(), recordKey(c), value); err != nil {
		t.Fatal(err)
	}
}

// credential is what an executor would get.
func (r *rig) credential(ctx context.Context, user, provider, connectionID string) (providers.Credential, error) {
	_, in, err := r.handOut(ctx, &tokenRequest{UserID: user, Provider: provider, ConnectionID: connectionID}, nil)
	if err != nil {
		return providers.Credential{}, err
	}
	return in.credential(), nil
}

// delete disconnects and says only what went wrong.
func (r *rig) delete(ctx context.Context, user, connectionID string) error {
	_, err := r.disconnect(ctx, user, connectionID)
	return err
}

// stored is all that the two buckets hold, byte for byte.
func (r *rig) stored(t testing.TB) string {
	t.Helper()
	var all []json.RawMessage
	for _, name := range []string{bus.BucketKeys, events.BucketConnections} {
		stream, err := r.bus.JetStream().Stream(t.Context(), "KV_"+name)
		if err != nil {
			t.Fatal(err)
		}
		for sequence := max(stream.CachedInfo().State.FirstSeq, 1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
			msg, err := stream.GetMsg(t.Context(), sequence)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			line, err := json.Marshal(msg)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, line)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func bucket(t testing.TB, b *bus.Bus, name string) jetstream.KeyValue {
	t.Helper()
	kv, err := b.JetStream().KeyValue(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func packs(t testing.TB) *providers.Registry {
	t.Helper()
	pack := func(name string, auth ...*providers.Auth) *providers.Pack {
		return &providers.Pack{Name: name, Auth: auth}
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{
		"github":  pack("github", &providers.Auth{ID: "pat", Type: providers.AuthAPIKey}, &providers.Auth{ID: "app", Type: "oauth2"}),
		"slack":   pack("slack", &providers.Auth{ID: "bot", Type: providers.AuthAPIKey}),
		"weather": pack("weather", &providers.Auth{ID: "open", Type: providers.AuthNone}),
		"clock":   pack("clock"),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

func secret(s string) providers.Secret { return providers.NewSecret([]byte(s)) }

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// wantCode fails unless err is an *events.Error with that code.
func wantCode(t testing.TB, err error, code events.Code) events.Error {
	t.Helper()
	var e *events.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got error %v, want one with code %s", err, code)
	}
	return *e
}

func TestNewRefuses(t *testing.T) {
	r := newRig(t)
	tests := []struct {
		name string
		edit func(*Config)
	}{
		{"no connection", func(c *Config) { c.Conn = nil }},
		{"no JetStream", func(c *Config) { c.JetStream = nil }},
		{"no providers", func(c *Config) { c.Providers = nil }},
		{"no keys", func(c *Config) { c.Keys = nil }},
		{"keys that were not opened", func(c *Config) { c.Keys = &Keys{} }},
		{"no API key", func(c *Config) { c.APIKey = providers.Secret{} }},
		{"API key with a line break", func(c *Config) { c.APIKey = secret("key\n") }},
		{"API key with a space", func(c *Config) { c.APIKey = secret("a key") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := r.cfg
			tt.edit(&cfg)
			if _, err := New(cfg); err == nil {
				t.Error("accepted")
			}
		})
	}
	if err := r.bus.JetStream().DeleteKeyValue(t.Context(), events.BucketConnections); err != nil {
		t.Fatal(err)
	}
	if _, err := New(r.cfg); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("without a bucket: got %v", err)
	}
}
