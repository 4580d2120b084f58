package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
)

// image is what a mirror has seen.
type image struct {
	mu   sync.Mutex
	held map[string]string
}

func (i *image) see(key string, value []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if value == nil {
		delete(i.held, key)
		return
	}
	i.held[key] = string(value)
}

func (i *image) now() map[string]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.held)
}

func newMirror(t *testing.T) (*bus.Mirror, *image, jetstream.KeyValue) {
	t.Helper()
	b := bustest.New(t)
	kv, err := b.JetStream().KeyValue(t.Context(), bus.BucketSchedules)
	if err != nil {
		t.Fatal(err)
	}
	i := &image{held: map[string]string{}}
	return bus.NewMirror(b.JetStream(), bus.BucketSchedules, i.see, zerolog.Nop()), i, kv
}

// running runs m until the returned function is called.
func running(t *testing.T, m *bus.Mirror) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func put(t *testing.T, kv jetstream.KeyValue, key, value string) {
	t.Helper()
	if _, err := kv.PutString(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func caughtUp(t *testing.T, m *bus.Mirror) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.CaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestMirrorHasWhatWasStoredBefore(t *testing.T) {
	m, held, kv := newMirror(t)
	put(t, kv, "a.1", "before")
	put(t, kv, "a.2", "gone at once")
	if err := kv.Purge(t.Context(), "a.2", jetstream.PurgeTTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	running(t, m)
	caughtUp(t, m)
	want := map[string]string{"a.1": "before"}
	if diff := cmp.Diff(want, held.now()); diff != "" {
		t.Fatal(diff)
	}
	for n := range 200 {
		key, value := fmt.Sprintf("b.%d", n%20), fmt.Sprint(n)
		put(t, kv, key, value)
		want[key] = value
		caughtUp(t, m)
		if diff := cmp.Diff(want, held.now()); diff != "" {
			t.Fatal(diff)
		}
	}
	if err := kv.Delete(t.Context(), "a.1"); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, m)
	if _, there := held.now()["a.1"]; there {
		t.Fatal("what was deleted is still there")
	}
}

func TestMirrorNoticesWhatWentAwayMeanwhile(t *testing.T) {
	m, held, kv := newMirror(t)
	put(t, kv, "a.1", "stays")
	put(t, kv, "a.2", "goes")
	stop := running(t, m)
	caughtUp(t, m)
	stop()
	if err := kv.Delete(t.Context(), "a.2"); err != nil {
		t.Fatal(err)
	}
	if err := kv.PurgeDeletes(t.Context(), jetstream.DeleteMarkersOlderThan(-1)); err != nil { // the mark as well
		t.Fatal(err)
	}
	running(t, m)
	caughtUp(t, m)
	if diff := cmp.Diff(map[string]string{"a.1": "stays"}, held.now()); diff != "" {
		t.Fatal(diff)
	}
}

func TestMirrorWaitsOnlyAsLongAsItMay(t *testing.T) {
	m, _, kv := newMirror(t)
	put(t, kv, "a.1", "nobody sees it")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := m.CaughtUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestMirrorIsAskedByMany(t *testing.T) {
	m, held, kv := newMirror(t)
	running(t, m)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			key := fmt.Sprintf("a.%d", n)
			if _, err := kv.PutString(t.Context(), key, "x"); err != nil {
				t.Error(err)
			}
			if err := m.CaughtUp(t.Context()); err != nil {
				t.Error(err)
			}
			if held.now()[key] == "" {
				t.Errorf("%s was stored before the call", key)
			}
		})
	}
	all.Wait()
}
