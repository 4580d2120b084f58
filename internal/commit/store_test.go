package commit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a Store on a real bus.
type desk struct {
	*testing.T
	*Store
	stream jetstream.Stream
}

func open(t *testing.T, change ...func(*jetstream.StreamConfig)) *desk {
	t.Helper()
	on := bustest.New(t, func(c *bus.Config) { c.Durability = bus.Single })
	stream, err := on.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		cfg := stream.CachedInfo().Config
		c(&cfg)
		if stream, err = on.JetStream().UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(Config{JetStream: on.JetStream(), Grouped: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Wait)
	return &desk{t, s, stream}
}

func message(id string) *nats.Msg {
	msg := nats.NewMsg("plugfn.event.u1.p.e")
	msg.Header.Set(jetstream.MsgIDHeader, id)
	msg.Data = []byte(id)
	return msg
}

// publish stores many messages at once, the i-th with the id name(i), and
// returns how many of them were there before.
func (d *desk) publish(n int, name func(int) string) (duplicates int) {
	d.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			ack, err := d.Publish(d.Context(), message(name(i)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				d.Error(err)
			}
			if ack.Duplicate {
				duplicates++
			}
		})
	}
	all.Wait()
	return duplicates
}

// stored counts the messages of the stream by id, and those that came in a
// batch.
func (d *desk) stored() (ids map[string]int, batched int) {
	d.Helper()
	info, err := d.stream.Info(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	ids = map[string]int{}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := d.stream.GetMsg(d.Context(), seq)
		if err != nil {
			d.Fatal(err)
		}
		ids[string(msg.Data)]++
		if msg.Header.Get(headerBatch) != "" {
			batched++
		}
	}
	return ids, batched
}

func TestThoseThatWaitShareAWrite(t *testing.T) {
	d := open(t)
	if n := d.publish(300, func(i int) string { return fmt.Sprint(i) }); n != 0 {
		t.Errorf("%d were there before", n)
	}
	ids, batched := d.stored()
	if len(ids) != 300 || batched < batchFrom {
		t.Errorf("%d messages are stored, %d in batches", len(ids), batched)
	}
}

func TestNobodyWaitsForOthers(t *testing.T) {
	d := open(t)
	for i := range 3 {
		ack, err := d.Publish(t.Context(), message(fmt.Sprint(i)))
		if err != nil || ack.Sequence != uint64(i+1) {
			t.Fatalf("%+v, %v", ack, err)
		}
	}
	if _, batched := d.stored(); batched != 0 {
		t.Errorf("%d came in batches", batched)
	}
}

// Each message comes three times, twice at the same time.
func TestRepetitionsAreStoredOnce(t *testing.T) {
	d := open(t)
	twice := d.publish(200, func(i int) string { return fmt.Sprint(i / 2) })
	again := d.publish(100, func(i int) string { return fmt.Sprint(i) })
	if twice != 100 || again != 100 {
		t.Errorf("%d and %d were there before, want 100 each", twice, again)
	}
	ids, _ := d.stored()
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
	if len(ids) != 100 {
		t.Errorf("%d messages are stored", len(ids))
	}
}

// A stream knows ids that the Store does not: of another process, or of before
// its start.
func TestRefusedBatchIsStoredSingly(t *testing.T) {
	d := open(t)
	if _, err := d.JetStream.PublishMsg(t.Context(), message("50")); err != nil {
		t.Fatal(err)
	}
	if n := d.publish(100, func(i int) string { return fmt.Sprint(i) }); n != 1 {
		t.Errorf("%d were there before, want 1", n)
	}
	if ids, _ := d.stored(); len(ids) != 100 || ids["50"] != 1 {
		t.Errorf("%d messages are stored, %d of the one that was there", len(ids), ids["50"])
	}
}

// Nothing that the stream refuses is taken for stored.
func TestFullStreamRefusesAll(t *testing.T) {
	d := open(t, func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs = 20 })
	var mu sync.Mutex
	var all sync.WaitGroup
	told := 0
	for i := range 100 {
		all.Go(func() {
			_, err := d.Publish(t.Context(), message(fmt.Sprint(i)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				told++
			}
		})
	}
	all.Wait()
	if ids, _ := d.stored(); len(ids) != 20 || told != 20 {
		t.Errorf("%d are stored, %d were told so, want 20", len(ids), told)
	}
}

// A stream that is away keeps nobody longer than he wants to wait, and tells
// nobody that it has his message.
func TestStreamIsAway(t *testing.T) {
	d := open(t)
	deaf, err := d.JetStream.Conn().SubscribeSync("plugfn.nowhere.>") // takes, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Unsubscribe() //nolint:errcheck // the connection goes with the test
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			msg := message(fmt.Sprint(i))
			msg.Subject = "plugfn.nowhere.x"
			if _, err := d.Publish(ctx, msg); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	d.Wait()
	if len(d.waiting) != 0 || d.singles != 0 || d.batched {
		t.Errorf("left behind: %d waiting, %d under way, a batch: %t", len(d.waiting), d.singles, d.batched)
	}
}

func TestMessageIsNotChanged(t *testing.T) {
	msg := message("a")
	if got := numbered(msg, "b", 7); len(msg.Header) != 1 || got.Header.Get(headerSequence) != "7" || got.Header.Get(jetstream.MsgIDHeader) != "a" {
		t.Errorf("%v became %v", msg.Header, got.Header)
	}
}

// Of two messages that are to be the first below the same subjects, one is stored
// and the other is refused, though both wait at the same time.
func TestOneIsTheFirst(t *testing.T) {
	d := open(t)
	var mu sync.Mutex
	var all sync.WaitGroup
	refused := 0
	for i := range 200 {
		all.Go(func() {
			msg := nats.NewMsg(fmt.Sprintf("plugfn.event.u1.p.kind%d.id%d", i%2, i/2))
			msg.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, fmt.Sprintf("plugfn.event.u1.p.*.id%d", i/2))
			msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
			msg.Data = fmt.Append(nil, i/2)
			_, err := d.Publish(t.Context(), msg)
			var api *jetstream.APIError
			if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
				mu.Lock()
				defer mu.Unlock()
				refused++
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ids, batched := d.stored()
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
	if len(ids) != 100 || refused != 100 || batched == 0 {
		t.Errorf("%d are stored, %d of them in batches, and %d are refused; want 100 each", len(ids), batched, refused)
	}
}
