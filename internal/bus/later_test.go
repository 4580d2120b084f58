package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// parked is a message for u1 that is due at a time.
func parked(id string, at time.Time) bus.Later {
	return bus.Later{
		Kind:   bus.KindAction,
		User:   "u1",
		ID:     id,
		At:     at,
		Target: events.ActionSubject("u1", "github", "issues.create"),
		Data:   []byte(id),
	}
}

func park(t *testing.T, b *bus.Bus, l bus.Later) {
	t.Helper()
	if err := b.Park(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

// mover reads what falls due, as the scheduler does.
type mover struct {
	t        *testing.T
	consumer jetstream.Consumer
}

func newMover(t *testing.T, b *bus.Bus) mover {
	t.Helper()
	c, err := b.JetStream().CreateConsumer(t.Context(), events.StreamLater, jetstream.ConsumerConfig{
		FilterSubject: events.PrefixDue + ">",
		AckPolicy:     jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	return mover{t, c}
}

// next waits for the next firing; arrived is when it came.
func (m mover) next() (f bus.Firing, data string, arrived time.Time, sequence uint64) {
	m.t.Helper()
	msg, err := m.consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
	if err != nil {
		m.t.Fatal(err)
	}
	arrived = time.Now()
	meta, err := msg.Metadata()
	if err != nil {
		m.t.Fatal(err)
	}
	f, err = bus.Due(msg.Subject(), msg.Headers(), meta.Sequence.Stream)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := msg.Ack(); err != nil {
		m.t.Fatal(err)
	}
	return f, string(msg.Data()), arrived, meta.Sequence.Stream
}

func TestParkFires(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	m := newMover(t, b)
	l := parked("job 7", time.Now().Add(300*time.Millisecond))
	l.Header = nats.Header{
		events.HeaderID:     {"job 7"},
		"traceparent":       {"00-1-2-01"},
		"X-Twice":           {"a", "b"},
		"Nats-Msg-Id":       {"from the first publish"},
		"nats-expected-foo": {"x"},
		"plugfn-target":     {"plugfn.action.u2.github.issues.create"},
	}
	park(t, b, l)
	if len(l.Header) != 6 {
		t.Errorf("Park changed the caller's header: %v", l.Header)
	}

	f, data, arrived, sequence := m.next()
	if arrived.Before(l.At) {
		t.Errorf("fired %s early", l.At.Sub(arrived))
	}
	want := bus.Firing{
		Kind:   bus.KindAction,
		User:   "u1",
		Target: "plugfn.action.u1.github.issues.create",
		Header: nats.Header{events.HeaderID: {"job 7"}, "traceparent": {"00-1-2-01"}, "X-Twice": {"a", "b"}},
		ID:     f.ID,
	}
	if !strings.HasPrefix(f.ID, "plugfn.later.action.u1.job=207@2") || len(f.ID) < 50 {
		t.Errorf("id %q: it must name the firing, and nobody must be able to guess it", f.ID)
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	if data != "job 7" {
		t.Errorf("data %q", data)
	}
	if err := b.Moved(t.Context(), sequence); err != nil {
		t.Error(err)
	}
	if err := b.Moved(t.Context(), sequence); err != nil {
		t.Errorf("moved twice: %v", err)
	}
	if n := info(t, b, events.StreamLater).State.Msgs; n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// TestParkedIsMovedOnce publishes one firing to its target twice, as after a
// crash between the publish and the acknowledgement.
func TestParkedIsMovedOnce(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	m := newMover(t, b)
	park(t, b, parked("a", time.Now()))
	f, data, _, _ := m.next()
	for range 2 {
		msg := &nats.Msg{Subject: f.Target, Header: f.Header, Data: []byte(data)}
		if _, err := b.JetStream().PublishMsg(t.Context(), msg, jetstream.WithMsgID(f.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if n := info(t, b, events.StreamActions).State.Msgs; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestParkReplacesAndCancels(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	m := newMover(t, b)
	soon := time.Now().Add(300 * time.Millisecond)

	park(t, b, parked("canceled", soon))
	park(t, b, parked("replaced", soon))
	second := parked("replaced", soon.Add(200*time.Millisecond))
	second.Data = []byte("second")
	park(t, b, second)
	other := parked("canceled", soon)
	other.User, other.Target = "u2", events.ActionSubject("u2", "github", "issues.create")
	park(t, b, other)
	if err := b.Unpark(t.Context(), bus.KindAction, "u1", "canceled"); err != nil {
		t.Fatal(err)
	}
	if err := b.Unpark(t.Context(), bus.KindAction, "u1", "never parked"); err != nil {
		t.Error(err)
	}
	park(t, b, parked("last", soon.Add(600*time.Millisecond)))

	var got []string
	for len(got) == 0 || got[len(got)-1] != "u1 last" {
		f, data, _, _ := m.next()
		got = append(got, f.User+" "+data)
	}
	if d := cmp.Diff([]string{"u2 canceled", "u1 second", "u1 last"}, got); d != "" {
		t.Error(d)
	}
}

// TestParkSurvivesRestart has a message fall due while nobody runs.
func TestParkSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := bustest.New(t, bustest.Dir(dir))
	due, later := parked("due", time.Now().Add(100*time.Millisecond)), parked("later", time.Now().Add(time.Second))
	park(t, b, due)
	park(t, b, later)
	bustest.Close(t, b)
	time.Sleep(time.Until(due.At))

	m := newMover(t, bustest.New(t, bustest.Dir(dir)))
	for _, want := range []bus.Later{due, later} {
		if _, data, arrived, _ := m.next(); data != want.ID || arrived.Before(want.At) {
			t.Errorf("%q came at %s, want %q at %s", data, arrived, want.ID, want.At)
		}
	}
}

// TestParkOutlivesAge gives the stream an age that is shorter than the wait.
func TestParkOutlivesAge(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	change(t, b, events.StreamLater, func(c *jetstream.StreamConfig) {
		c.MaxAge, c.Duplicates = 200*time.Millisecond, 200*time.Millisecond
	})
	m := newMover(t, b)
	park(t, b, parked("old", time.Now().Add(time.Second)))
	if _, data, _, _ := m.next(); data != "old" {
		t.Errorf("%q fired", data)
	}
}

func TestParkRepeats(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	m := newMover(t, b)
	for id, edit := range map[string]func(*bus.Later){
		"every": func(l *bus.Later) { l.Every = time.Second },
		"cron":  func(l *bus.Later) { l.Cron = "* * * * * *" },
		"zone":  func(l *bus.Later) { l.Cron, l.Zone = "* * * * * *", "Europe/Berlin" },
	} {
		l := parked(id, time.Time{})
		edit(&l)
		park(t, b, l)
	}
	fired := map[string]map[string]bool{"every": {}, "cron": {}, "zone": {}} // id parked → ids of its firings
	for len(fired["every"]) < 2 || len(fired["cron"]) < 2 || len(fired["zone"]) < 2 {
		f, id, _, _ := m.next()
		if fired[id][f.ID] {
			t.Fatalf("two firings of %q have the id %s", id, f.ID)
		}
		fired[id][f.ID] = true
	}
}

func TestParkRefuses(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ok := parked("a", time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		edit func(*bus.Later)
		want string
	}{
		"no time":         {func(l *bus.Later) { l.At = time.Time{} }, "set one of At, Every and Cron"},
		"two times":       {func(l *bus.Later) { l.Every = time.Minute }, "set one of At, Every and Cron"},
		"far ahead":       {func(l *bus.Later) { l.At = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, "field At 9999-01-01T00:00:00Z is more than ten years ahead"},
		"too often":       {func(l *bus.Later) { l.At, l.Every = time.Time{}, 999*time.Millisecond }, "field Every 999ms"},
		"negative":        {func(l *bus.Later) { l.At, l.Every = time.Time{}, -time.Hour }, "field Every"},
		"zone alone":      {func(l *bus.Later) { l.Zone = "Europe/Berlin" }, "field Zone"},
		"cron that is at": {func(l *bus.Later) { l.At, l.Cron = time.Time{}, "@at 2030-01-01T00:00:00Z" }, "use At or Every"},
		"bad cron":        {func(l *bus.Later) { l.At, l.Cron = time.Time{}, "61 * * * * *" }, "pattern is invalid"},
		"bad zone":        {func(l *bus.Later) { l.At, l.Cron, l.Zone = time.Time{}, "@daily", "Mars/Olympus" }, "time zone is invalid"},
		"no id":           {func(l *bus.Later) { l.ID = "" }, "field ID is empty"},
		"unknown kind":    {func(l *bus.Later) { l.Kind = "event" }, `kind "event" is none of action, run, connection and schedule`},
		"no target":       {func(l *bus.Later) { l.Target = "" }, "must start with plugfn.action.u1."},
		"other prefix":    {func(l *bus.Later) { l.Target = "plugfn.event.u1.github.push" }, "must start with plugfn.action.u1."},
		"other kind":      {func(l *bus.Later) { l.Kind = bus.KindRun }, "must start with plugfn.run.u1."},
		"other user":      {func(l *bus.Later) { l.Target = "plugfn.action.u2.github.push" }, "must start with plugfn.action.u1."},
		"longer user":     {func(l *bus.Later) { l.Target = "plugfn.action.u10.github.push" }, "must start with plugfn.action.u1."},
		"wildcard":        {func(l *bus.Later) { l.Target = "plugfn.action.u1.github.*" }, `"*" is not a token`},
		"empty token":     {func(l *bus.Later) { l.Target = "plugfn.action.u1.github..x" }, `"" is not a token`},
		"open end":        {func(l *bus.Later) { l.Target = "plugfn.action.u1." }, `"" is not a token`},
		"newline":         {func(l *bus.Later) { l.Target = "plugfn.action.u1.a\r\nPUB" }, "is not a token"},
		"long":            {func(l *bus.Later) { l.Target += "." + strings.Repeat("x", 256) }, "longer than 255 bytes"},
		"large":           {func(l *bus.Later) { l.Data = make([]byte, 1<<20) }, "maximum payload"},
	} {
		l := ok
		c.edit(&l)
		err := b.Park(t.Context(), l)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if n := info(t, b, events.StreamLater).State.Msgs; n != 0 {
		t.Errorf("%d messages were parked all the same", n)
	}
}

// TestParkFull fills the store of parked messages.
func TestParkFull(t *testing.T) {
	t.Parallel()
	b := bustest.New(t, func(c *bus.Config) { c.MaxBytes = 1 << 20 })
	big := func(id string) bus.Later {
		l := parked(id, time.Now().Add(time.Hour))
		l.Data = make([]byte, 600<<10)
		return l
	}
	park(t, b, big("first"))
	if err := b.Park(t.Context(), big("second")); !errors.Is(err, bus.ErrFull) {
		t.Fatalf("error %v, want ErrFull", err)
	}
	park(t, b, parked("small", time.Now().Add(time.Hour)))
	if err := b.Unpark(t.Context(), bus.KindAction, "u1", "first"); err != nil {
		t.Fatal(err)
	}
	park(t, b, big("second"))
}
