package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
)

// childDir tells this binary to be the process that is killed.
const childDir = "PLUGFN_TEST_SPOOL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		keepForEver(dir)
	}
	goleak.VerifyTestMain(m)
}

// keepForEver keeps messages, says of each when it is kept, and waits to be
// killed.
func keepForEver(dir string) {
	ctx := context.Background()
	local, err := bus.OpenSpool(ctx, bus.SpoolConfig{Dir: dir})
	if err != nil {
		panic(err)
	}
	s, err := New(Config{Local: local.JetStream(), Forward: (&away{}).forward})
	if err != nil {
		panic(err)
	}
	go func() { panic(s.Run(ctx)) }()
	for s.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 1 << 20 {
				id := fmt.Sprintf("%d-%d", worker, i)
				if err := s.Keep(ctx, fmt.Sprint("key ", worker), message(id)); err != nil {
					panic(err)
				}
				fmt.Println(id)
			}
		})
	}
	all.Wait()
}

// away is a bus that does not answer until it is back.
type away struct {
	mu   sync.Mutex
	back bool
	got  []*nats.Msg
	fail func(*nats.Msg) error // nil: never
}

func (a *away) forward(_ context.Context, msg *nats.Msg) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.back {
		return nats.ErrNoServers
	}
	if a.fail != nil {
		if err := a.fail(msg); err != nil {
			return err
		}
	}
	a.got = append(a.got, msg)
	return nil
}

func (a *away) returns() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.back = true
}

// ids are those of the messages that arrived, in their order.
func (a *away) ids() (ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, msg := range a.got {
		ids = append(ids, msg.Header.Get(jetstream.MsgIDHeader))
	}
	return ids
}

func message(id string) *nats.Msg {
	msg := nats.NewMsg("plugfn.event.u1.p.e")
	msg.Header.Set(jetstream.MsgIDHeader, id)
	msg.Header.Set("ce-id", "the id of "+id)
	msg.Data = []byte("body of " + id)
	return msg
}

// room is a Spool that runs.
type room struct {
	*testing.T
	*Spool
	local *bus.Spool
	close func()
}

func open(t *testing.T, dir string, maxBytes int64, to *away) *room {
	t.Helper()
	local, err := bus.OpenSpool(t.Context(), bus.SpoolConfig{Dir: dir, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Local: local.JetStream(), Forward: to.forward, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r := &room{T: t, Spool: s, local: local}
	r.close = sync.OnceFunc(func() {
		stop()
		if err := errors.Join(<-done, local.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.close)
	r.eventually("a spool that is read", func() bool { return s.Ready() == nil })
	return r
}

func (r *room) eventually(what string, ok func() bool) {
	r.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("waited in vain for %s", what)
		}
	}
}

func (r *room) keep(key, id string) {
	r.Helper()
	if err := r.Keep(r.Context(), key, message(id)); err != nil {
		r.Fatalf("%s: %v", id, err)
	}
}

func (r *room) isEmpty() bool {
	size, err := r.local.Size(r.Context())
	return err == nil && size.Messages == 0
}

// Events of one key are forwarded in the order in which they were kept, whichever
// of them fail at first, with the id, the subject and the header that they had.
func TestOrderPerKey(t *testing.T) {
	to := &away{}
	failed := map[string]bool{}
	to.fail = func(msg *nats.Msg) error { // each once
		id := msg.Header.Get(jetstream.MsgIDHeader)
		if !failed[id] && len(failed) < 30 {
			failed[id] = true
			return nats.ErrTimeout
		}
		return nil
	}
	r := open(t, t.TempDir(), 0, to)
	const keys, each = 5, 20
	for i := range each {
		for k := range keys {
			r.keep(fmt.Sprint("key ", k), fmt.Sprintf("%d-%02d", k, i))
		}
		r.keep("", fmt.Sprintf("free-%02d", i))
	}
	to.returns()
	r.eventually("an empty spool", r.isEmpty)
	byKey := map[string][]string{}
	for _, id := range to.ids() {
		key, _, _ := strings.Cut(id, "-")
		byKey[key] = append(byKey[key], id)
	}
	for key, ids := range byKey {
		if len(ids) != each || key != "free" && !slices.IsSorted(ids) {
			t.Errorf("key %s: %v", key, ids)
		}
	}
	if len(byKey) != keys+1 {
		t.Errorf("keys %v", slices.Collect(maps.Keys(byKey)))
	}
	for _, msg := range to.got {
		want := message(msg.Header.Get(jetstream.MsgIDHeader))
		if msg.Subject != want.Subject || string(msg.Data) != string(want.Data) || !maps.EqualFunc(msg.Header, want.Header, slices.Equal) {
			t.Fatalf("forwarded %s %v %s", msg.Subject, msg.Header, msg.Data)
		}
	}
}

// While one of a key is here its next ones have to come here too; the others
// only while the bus is away.
func TestTakes(t *testing.T) {
	to := &away{}
	stuck := true
	to.fail = func(msg *nats.Msg) error {
		if stuck && strings.HasPrefix(msg.Header.Get(jetstream.MsgIDHeader), "a") {
			return nats.ErrTimeout
		}
		return nil
	}
	r := open(t, t.TempDir(), 0, to)
	if r.Takes("a") || r.Takes("") {
		t.Error("an empty spool takes what the bus can have")
	}
	r.Away()
	if r.Takes("a") {
		t.Error("nobody finds out whether the bus is back")
	}
	r.keep("b", "b1") // first: what is read without it does not wait for it
	r.keep("a", "a1")
	if !r.Takes("a") || !r.Takes("b") || !r.Takes("new") || !r.Takes("") {
		t.Error("the bus is away, and something does not come here")
	}
	to.returns()
	r.eventually("b1 on the bus", func() bool { return slices.Contains(to.ids(), "b1") })
	if !r.Takes("a") {
		t.Error("the next of a would pass a1")
	}
	if r.Takes("new") || r.Takes("") {
		t.Error("the bus is back, and others still come here")
	}
	to.mu.Lock()
	stuck = false
	to.mu.Unlock()
	r.eventually("an empty spool", func() bool { return r.isEmpty() && !r.Takes("a") })
}

// The same message is kept once, and one of the same id with another body beside
// it.
func TestRepetitionsInTheSpool(t *testing.T) {
	to := &away{}
	r := open(t, t.TempDir(), 0, to)
	r.keep("k", "1")
	r.keep("k", "1")
	other := message("1")
	other.Data = []byte("another body")
	if err := r.Keep(t.Context(), "k", other); err != nil {
		t.Fatal(err)
	}
	to.returns()
	r.eventually("an empty spool", r.isEmpty)
	if len(to.got) != 2 || string(to.got[0].Data) != "body of 1" || string(to.got[1].Data) != "another body" {
		t.Errorf("forwarded %d", len(to.got))
	}
}

func TestFullSpool(t *testing.T) {
	to := &away{}
	r := open(t, t.TempDir(), 1<<20, to)
	big := func(i int) *nats.Msg {
		msg := message(fmt.Sprint("big-", i))
		msg.Data = make([]byte, 100<<10)
		return msg
	}
	kept := 0
	var err error
	for ; kept < 20 && err == nil; kept++ {
		err = r.Keep(t.Context(), "", big(kept))
	}
	if !errors.Is(err, ErrFull) || kept < 5 {
		t.Fatalf("%v after %d", err, kept)
	}
	if err := r.Ready(); err != nil {
		t.Errorf("a full spool counts as broken: %v", err)
	}
	to.returns()
	r.eventually("room", func() bool { return r.Keep(t.Context(), "", big(100)) == nil })
	r.eventually("an empty spool", r.isEmpty)
	if n := len(to.ids()); n != kept { // one was refused, one came later
		t.Errorf("%d of %d arrived", n, kept)
	}
}

// What was kept when the process was killed is there at the next start, in its
// order.
func TestSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var told []string
	lines := bufio.NewScanner(out)
	for len(told) < 150 && lines.Scan() {
		told = append(told, lines.Text())
	}
	_ = child.Process.Kill()
	for lines.Scan() {
		told = append(told, lines.Text())
	}
	_ = child.Wait()
	if len(told) < 150 {
		t.Fatalf("the child kept %d", len(told))
	}
	to := &away{}
	r := open(t, dir, 0, to)
	if !r.Takes("key 0") {
		t.Error("the spool does not know what it has")
	}
	to.returns()
	r.eventually("an empty spool", r.isEmpty)
	place := map[string]int{}
	last := map[string]int{}
	for i, id := range to.ids() {
		if _, twice := place[id]; twice {
			t.Errorf("%s arrived twice", id)
		}
		place[id] = i
		var worker, n int
		if _, err := fmt.Sscanf(id, "%d-%d", &worker, &n); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[fmt.Sprint(worker)]; ok && n != before+1 {
			t.Errorf("%s came after %d", id, before)
		}
		last[fmt.Sprint(worker)] = n
	}
	for _, id := range told {
		if _, ok := place[id]; !ok {
			t.Errorf("%s was kept and is gone", id)
		}
	}
}

// A forwarding that is interrupted goes on at the next start; what the bus has
// already comes again, with its id.
func TestInterruptedForwarding(t *testing.T) {
	dir, to := t.TempDir(), &away{}
	r := open(t, dir, 0, to)
	for i := range 10 {
		r.keep("k", fmt.Sprint(i))
	}
	to.fail = func(*nats.Msg) error {
		if len(to.got) == 4 {
			return nats.ErrTimeout
		}
		return nil
	}
	to.returns()
	r.eventually("half of them", func() bool { return len(to.ids()) == 4 })
	r.close()
	to.fail = nil
	r = open(t, dir, 0, to)
	r.eventually("an empty spool", r.isEmpty)
	ids := to.ids()
	if got := slices.Compact(slices.Sorted(slices.Values(ids))); len(got) != 10 || !slices.IsSorted(ids[4:]) {
		t.Errorf("arrived %v", ids)
	}
}

// A directory that is not there is made; one that cannot be used, or belongs to
// another process, is an error that names it.
func TestDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	r := open(t, dir, 0, &away{})
	if _, err := bus.OpenSpool(t.Context(), bus.SpoolConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened twice: %v", err)
	}
	r.close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.OpenSpool(t.Context(), bus.SpoolConfig{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file is a spool: %v", err)
	}
}

// A torn end, as a power cut leaves it, costs what was not acknowledged; what is
// before it is forwarded, and the spool works on.
func TestTornEnd(t *testing.T) {
	dir, to := t.TempDir(), &away{}
	r := open(t, dir, 0, to)
	for i := range 10 {
		r.keep("k", fmt.Sprint(i))
	}
	r.close()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", bus.StreamSpool, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks: %v", err)
	}
	f, err := os.OpenFile(blocks[len(blocks)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("\x40\x00\x00\x00half a record")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	to.returns()
	r = open(t, dir, 0, to)
	r.keep("k", "10")
	r.eventually("an empty spool", r.isEmpty)
	var want []string
	for i := range 11 {
		want = append(want, fmt.Sprint(i))
	}
	if got := to.ids(); !slices.Equal(got, want) {
		t.Errorf("arrived %v", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{}, {Forward: (&away{}).forward}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v makes a spool", cfg)
		}
	}
	local, err := bus.OpenSpool(t.Context(), bus.SpoolConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if _, err := New(Config{Local: local.JetStream()}); err == nil {
		t.Error("nobody is forwarded to")
	}
	s, err := New(Config{Local: local.JetStream(), Forward: (&away{}).forward})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(t.Context(), "k", message("1")); err == nil {
		t.Error("a spool that does not run keeps something")
	}
}
