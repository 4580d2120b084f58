package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// barrier is a provider that holds what the noisy user asks until it is lifted,
// and counts what each request did.
type barrier struct {
	lifted chan struct{}
	mu     sync.Mutex
	did    map[string]int // :: title → how often
	order  []string
}

func newBarrier() *barrier { return &barrier{lifted: make(chan struct{}), did: map[string]int{}} }

func (b *barrier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ Title string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	if strings.HasPrefix(body.Title, "noisy") {
		select {
		case <-b.lifted:
		case <-r.Context().Done():
			return
		}
	}
	b.mu.Lock()
	b.did[body.Title]++
	b.order = append(b.order, body.Title)
	b.mu.Unlock()
	_, _ = io.WriteString(w, `{}`)
}

// before is how many requests came before one.
func (b *barrier) before(title string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Index(b.order, title)
}

func small(cfg *Config) { cfg.MaxInFlight, cfg.MaxPerUser = 8, 2 }

// ask publishes a request without an id, as a client of any language would.
func (s *story) queue(user string, n int) {
	s.Helper()
	body := fmt.Sprintf(`{"title":"%s-%d"}`, user, n)
	if _, err := s.bus.JetStream().PublishAsync(events.ActionSubject(user, "fake", "things.create"), []byte(body)); err != nil {
		s.Fatal(err)
	}
}

func (s *story) asked() {
	s.Helper()
	select {
	case <-s.bus.JetStream().PublishAsyncComplete():
	case <-time.After(20 * time.Second):
		s.Fatal("not stored")
	}
}

func (s *story) laneOf(user string) bool {
	kv, err := s.bus.JetStream().KeyValue(s.Context(), bus.BucketLanes)
	if err != nil {
		s.Fatal(err)
	}
	_, err = kv.Get(s.Context(), user)
	return err == nil
}

// hasNoLanes waits until the lanes are closed and their consumers gone.
func (s *story) hasNoLanes(user string) {
	s.Helper()
	stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamActions)
	if err != nil {
		s.Fatal(err)
	}
	s.eventually("the end of the lane", func() bool {
		info, err := stream.Info(s.Context())
		return err == nil && info.State.Consumers == 1 && !s.laneOf(user)
	})
}

// once wants each request to have one result and to have been done once.
func (s *story) once(b *barrier, n int) {
	s.Helper()
	for _, r := range s.results(n) {
		if r.Outcome != events.Succeeded {
			s.Errorf("%s of %s: %s, %v", r.ID, r.UserID, r.Outcome, r.Error)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for title, times := range b.did {
		if times != 1 {
			s.Errorf("%s was done %d times", title, times)
		}
	}
	if len(b.did) != n {
		s.Errorf("%d were done, want %d", len(b.did), n)
	}
}

// While nothing of a backlog moves at all, others are served, by one executor as
// by two; then all of it is done, once.
func TestBacklogDelaysNobodyElse(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d executors", replicas), func(t *testing.T) {
			t.Parallel()
			b := newBarrier()
			s := tell(t, b.ServeHTTP, small)
			for range replicas {
				s.start()
			}
			const noisy, quiet = 400, 12
			for i := range noisy {
				s.queue("noisy", i)
			}
			s.asked()
			for i := range quiet {
				s.queue(fmt.Sprintf("quiet%d", i%3), i)
			}
			s.asked()
			stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamResults)
			if err != nil {
				t.Fatal(err)
			}
			s.eventually("the others", func() bool {
				info, err := stream.Info(s.Context())
				return err == nil && info.State.Msgs == quiet
			})
			if !s.laneOf("noisy") {
				t.Error("no lane for the noisy one")
			}
			close(b.lifted)
			s.once(b, noisy+quiet)
			s.hasNoLanes("noisy")
		})
	}
}

// What a lane has passed over is not lost with the executor.
func TestLaneOutlivesItsExecutor(t *testing.T) {
	b := newBarrier()
	s := tell(t, b.ServeHTTP, small)
	s.start()
	const n = 300
	for i := range n / 2 {
		s.queue("noisy", i)
	}
	s.asked()
	s.eventually("a lane", func() bool { return s.laneOf("noisy") })
	close(b.lifted)
	s.stop()
	for i := range n / 2 {
		s.queue("noisy", n/2+i)
	}
	s.asked()
	s.start()
	s.once(b, n)
	s.hasNoLanes("noisy")
}

// A call of the noisy user himself does not wait for his backlog.
func TestCallPassesOnesOwnBacklog(t *testing.T) {
	b := newBarrier()
	s := tell(t, b.ServeHTTP, func(cfg *Config) { cfg.MaxInFlight, cfg.MaxPerUser = 2, 2 })
	s.start()
	const n = 100
	for i := range n {
		s.queue("noisy", i)
	}
	s.asked()
	s.eventually("a lane", func() bool { return s.laneOf("noisy") })
	answers, err := s.app.SubscribeSync(s.app.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	r := events.ActionRequest{UserID: "noisy", Provider: "fake", Action: "things.create", Params: json.RawMessage(`{"title":"call"}`)}
	call := r.Msg(events.CallSubject(r.UserID, r.Provider, r.Action))
	call.Reply = answers.Subject
	if err := s.app.PublishMsg(call); err != nil {
		t.Fatal(err)
	}
	s.eventually("the call to be taken up", func() bool {
		consumer, err := s.bus.JetStream().Consumer(s.Context(), events.StreamActions, "executor")
		return err == nil && consumer.CachedInfo().Delivered.Stream == n+1
	})
	close(b.lifted)
	if _, err := answers.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if before := b.before("call"); before > n/2 {
		t.Errorf("%d of %d were done before the call", before, n)
	}
	s.once(b, n+1)
}

// Two executors know of a lane, each a little less than the other: what one has
// it answer for is not closed over by the other.
func TestLaneIsClosedBehindItsLastRequest(t *testing.T) {
	s := tell(t, nil)
	ctx := t.Context()
	kv, err := s.bus.JetStream().KeyValue(ctx, bus.BucketLanes)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := s.bus.JetStream().CreateConsumer(ctx, events.StreamActions, jetstream.ConsumerConfig{
		Durable: "lane", FilterSubject: laneTopic("noisy"), AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.queue("noisy", i)
	}
	s.asked()
	body, _ := json.Marshal(laneRecord{Consumer: "lane", From: 2})
	revision, err := kv.Create(ctx, "noisy", body)
	if err != nil {
		t.Fatal(err)
	}
	one := &lane{kv: kv, user: "noisy", name: "lane", from: 2, revision: revision}
	two := &lane{kv: kv, user: "noisy", name: "lane", from: 2, revision: revision}
	if err := one.cover(ctx, 1); !errors.Is(err, errLaneClosed) {
		t.Errorf("what was before the lane: %v", err)
	}
	wantCover(t, one, 2)
	if closed, err := two.close(ctx, consumer); closed || err != nil {
		t.Errorf("closed by one that knows too little: %t, %v", closed, err)
	}
	wantCover(t, two, 3)
	if closed, err := one.close(ctx, consumer); closed || err != nil {
		t.Errorf("closed before all was brought: %t, %v", closed, err)
	}
	batch, err := consumer.Fetch(3)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	wantCover(t, one, 3)
	for _, l := range []*lane{one, two} {
		entry, err := kv.Get(ctx, "noisy")
		if err == nil {
			l.heard(entry)
		}
	}
	if closed, err := two.close(ctx, consumer); !closed || err != nil {
		t.Errorf("not closed: %t, %v", closed, err)
	}
	wantCover(t, one, 3) // it was brought
	if err := one.cover(ctx, 4); !errors.Is(err, errLaneClosed) {
		t.Errorf("what came after the lane: %v", err)
	}
}

func wantCover(t *testing.T, l *lane, sequence uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.cover(ctx, sequence); err != nil {
		t.Errorf("covering %d: %v", sequence, err)
	}
}
