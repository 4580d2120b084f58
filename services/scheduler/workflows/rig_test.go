package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var packs = sync.OnceValues(func() (*providers.Registry, error) {
	all := map[string]*providers.Pack{}
	for _, name := range []string{"github", "slack"} {
		pack, err := providers.Load(catalog.FS, name)
		if err != nil {
			return nil, err
		}
		all[name] = pack
	}
	return providers.NewRegistry(all, nil)
})

// rig is a service on a bus of its own.
type rig struct {
	*Service
	t *testing.T
	b *bus.Bus
}

// newRig runs a service until the end of the test.
func newRig(t *testing.T, edits ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, b: bustest.New(t)}
	r.Service = r.another(edits...)
	return r
}

// another runs one more service on the same bus.
func (r *rig) another(edits ...func(*Config)) *Service {
	r.t.Helper()
	registry, err := packs()
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := Config{
		Conn: r.b.Conn(), JetStream: r.b.JetStream(), Providers: registry, APIKey: providers.NewSecret([]byte("key")), Log: zerolog.Nop(),
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
	if err := s.mirror.CaughtUp(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// told is a workflow that tells something.
func told(name, trigger, text string) string {
	return fmt.Sprintf(`name: %s
trigger: %s
steps:
  - id: post # what this is about
    action: {use: slack.chat.postMessage, params: {channel: C1, text: %s}}
`, name, trigger, text)
}

const onOpened = "{event: {provider: github, event: issues.opened}}"

func definition(text string) json.RawMessage {
	data, err := encode(text)
	if err != nil {
		panic(err)
	}
	return data
}

func (r *rig) apply(user, text string) Applied {
	r.t.Helper()
	done, err := r.Apply(r.t.Context(), user, Application{Definition: definition(text)})
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// starts are the workflows that an event starts.
func (r *rig) starts(s *Service, user, provider, event string) []string {
	r.t.Helper()
	all, err := s.OnEvent(r.t.Context(), user, provider, event)
	if err != nil {
		r.t.Fatal(err)
	}
	names := []string{}
	for _, w := range all {
		if w.Program == nil || !w.Enabled {
			r.t.Fatalf("%s has no program or is not enabled", w.Name)
		}
		names = append(names, fmt.Sprintf("%s@%d", w.Name, w.Version))
	}
	return names
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}
