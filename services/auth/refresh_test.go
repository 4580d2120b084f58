package auth

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// clock is what a test says the time is.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) add(d time.Duration) { c.ahead.Add(int64(d)) }

// scene is one replica that does not run, one connection whose token lives for
// an hour, and a clock.
type scene struct {
	*fleet
	*Service
	clock *clock
	c     connection
}

func newScene(t testing.TB, cfg oauthtest.Config) *scene {
	t.Helper()
	s := &scene{clock: &clock{}}
	cfg.Now = s.clock.now
	s.fleet = newFleet(t, cfg)
	s.Service = s.add(t, fast)
	s.c = s.connect(t, "u1")
	return s
}

// ask hands out what a request for the connection gets.
func (s *scene) ask(t testing.TB, seen int) (kept, *hand, error) {
	t.Helper()
	return s.handOut(t.Context(), &tokenRequest{UserID: "u1", Provider: "strict", ConnectionID: s.c.ID, SeenVersion: seen}, nil)
}

// want wants a request to get a version that the provider takes.
func (s *scene) want(t testing.TB, version int) kept {
	t.Helper()
	k, _, err := s.ask(t, 0)
	if err != nil || k.Version != version {
		t.Fatalf("got version %d, %v, want %d", k.Version, err, version)
	}
	s.probe(t, &k)
	return k
}

// probe wants the provider to take a credential.
func (s *scene) probe(t testing.TB, k *kept) {
	t.Helper()
	in, err := s.store.hand(t.Context(), k)
	if err == nil {
		_, err = s.refresher.authority.probe(t.Context(), in)
	}
	if err != nil {
		t.Errorf("version %d: %v", k.Version, err)
	}
}

func (s *scene) now(t testing.TB) kept {
	t.Helper()
	return s.record(t, s.c.Connection)
}

func TestAStaleTokenIsRefreshedBeforeItIsHandedOut(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	first := s.want(t, 1)
	if !first.Renewable || first.ExpiresAt.IsZero() || first.Account == "" && first.Scopes == nil {
		t.Errorf("kept as %+v", first.Connection)
	}
	s.clock.add(58 * time.Minute)
	s.want(t, 1)
	s.clock.add(90 * time.Second)
	second := s.want(t, 2)
	if second.Refresh != (refreshing{}) || second.Fence == 0 || !second.ExpiresAt.After(first.ExpiresAt) {
		t.Errorf("kept as %+v", second.record)
	}
	if l := s.provider.Ledger(); l.Refreshes != 1 || s.changes(t, events.Refreshed) != 1 {
		t.Errorf("%d refreshes, %d announced", l.Refreshes, s.changes(t, events.Refreshed))
	}
}

func TestManyAskersOneRefresh(t *testing.T) {
	s := newScene(t, oauthtest.Config{Quirks: oauthtest.Quirks{Delay: 50 * time.Millisecond}})
	s.clock.add(2 * time.Hour)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			k, _, err := s.handOut(context.Background(), &tokenRequest{UserID: "u1", Provider: "strict"}, nil)
			if err != nil || k.Version != 2 {
				t.Errorf("got version %d, %v", k.Version, err)
			}
		})
	}
	wait.Wait()
	if l := s.provider.Ledger(); l.Refreshes != 1 {
		t.Errorf("%d refreshes", l.Refreshes)
	}
}

// Who does not want to wait any longer is told to come again, and never goes on
// with a refresh of his own.
func TestWhoWaitsTooLongIsToldToComeAgain(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.clock.add(2 * time.Hour)
	asked, answer := make(chan struct{}), make(chan struct{})
	s.refresher.authority = &interposed{authority: s.refresher.authority, before: func() { close(asked); <-answer }}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, _, err := s.handOut(ctx, &tokenRequest{UserID: "u1", Provider: "strict"}, nil)
	if e := wantCode(t, err, events.CodeInternal); !e.Retryable || !strings.Contains(e.Message, "under way") {
		t.Errorf("got %+v", e)
	}
	close(answer)
	s.want(t, 2)
}

func TestATransientFailureKeepsTheOldToken(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.clock.add(59*time.Minute + 30*time.Second)
	s.provider.Fail(oauthtest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: 45 * time.Second})
	s.want(t, 1)
	k := s.now(t)
	if k.Status != events.ConnectionActive || k.Refresh.Failure == nil || k.Refresh.Failure.Class != failTransient || k.Refresh.Holder != "" ||
		k.Refresh.NextAttempt.Sub(s.clock.now()) < 40*time.Second {
		t.Errorf("kept as %+v", k.Refresh)
	}
	s.want(t, 1) // and nobody is asked until then
	if l := s.provider.Ledger(); l.Refreshes != 0 {
		t.Errorf("%d refreshes", l.Refreshes)
	}
	s.clock.add(40 * time.Second) // over, and too early for the next attempt
	_, _, err := s.ask(t, 0)
	if e := wantCode(t, err, events.CodeInternal); !e.Retryable || !strings.Contains(e.Message, "tried again at") {
		t.Errorf("got %+v", e)
	}
	s.clock.add(time.Minute)
	if k := s.want(t, 2); k.Refresh.Failure != nil {
		t.Errorf("kept as %+v", k.Refresh)
	}
}

func TestADeadGrantIsConfirmedBeforeItEndsAConnection(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.refresher.timing.confirm = 30 * time.Second
	s.clock.add(2 * time.Hour)
	s.forget(t)
	_, _, err := s.ask(t, 0)
	wantCode(t, err, events.CodeInternal)
	k := s.now(t)
	if k.Status != events.ConnectionActive || k.Refresh.DeadSince.IsZero() || k.Refresh.Failure.Code != "invalid_grant" || s.changes(t, events.NeedsReauth) != 0 {
		t.Errorf("after the first time: %s, %+v", k.Status, k.Refresh)
	}
	s.clock.add(31 * time.Second)
	_, _, err = s.ask(t, 0)
	wantCode(t, err, events.CodeNeedsReauth)
	k = s.now(t)
	if k.Status != events.ConnectionNeedsReauth || s.changes(t, events.NeedsReauth) != 1 || k.Refresh.Cut != 0 {
		t.Errorf("after the second time: %s, %+v", k.Status, k.Refresh)
	}
	if opened, err := s.store.open(&k); err != nil || opened.RefreshToken.IsZero() {
		t.Errorf("the ciphertext is not kept: %v", err)
	}
	_, _, err = s.ask(t, 0)
	wantCode(t, err, events.CodeNeedsReauth)
	if l := s.provider.Ledger(); l.Refused != 2 {
		t.Errorf("asked %d times", l.Refused)
	}
	// A person asks once more: nothing changes, and nobody hears of it again.
	_, err = s.refreshNow(t.Context(), "u1", s.c.ID)
	wantCode(t, err, events.CodeNeedsReauth)
	if l := s.provider.Ledger(); l.Refused != 3 || s.now(t).Status != events.ConnectionNeedsReauth || s.changes(t, events.NeedsReauth) != 1 {
		t.Errorf("asked %d times, %d announced", l.Refused, s.changes(t, events.NeedsReauth))
	}
	// The user connects again, and the connection keeps its id.
	again, err := s.store.connect(t.Context(), grantInput{
		UserID: "u1", Provider: "strict", Auth: "oauth", App: "client", ConnectionID: s.c.ID, Credential: s.authorise(t),
	})
	if err != nil || again.ID != s.c.ID || again.Status != events.ConnectionActive || s.changes(t, events.Recovered) != 1 {
		t.Errorf("connected again: %+v, %v", again, err)
	}
	s.want(t, 2)
}

// forget ends the grants of everybody at the provider.
func (s *scene) forget(t testing.TB) {
	t.Helper()
	k := s.now(t)
	in, err := s.store.hand(t.Context(), &k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.refresher.authority.revoke(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func TestAMisconfiguredAppHarmsNoConnection(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	other := s.connect(t, "u2")
	good := s.store.app
	var bad providers.App
	s.store.app = func(ctx context.Context, provider, user, id string) (providers.App, error) {
		app, err := good(ctx, provider, user, id)
		app.ClientSecret = secret("wrong")
		bad = app
		return app, err
	}
	s.clock.add(2 * time.Hour)
	_, _, err := s.ask(t, 0)
	if e := wantCode(t, err, events.CodeInternal); !e.Retryable {
		t.Errorf("got %+v", e)
	}
	_, _, err = s.handOut(t.Context(), &tokenRequest{UserID: "u2", Provider: "strict"}, nil)
	wantCode(t, err, events.CodeInternal)
	if l := s.provider.Ledger(); l.Refused != 1 || bad.ClientID == "" {
		t.Errorf("the provider was asked %d times for two connections of one app", l.Refused)
	}
	for _, c := range []connection{s.c, other} {
		if k := s.record(t, c.Connection); k.Status != events.ConnectionActive {
			t.Errorf("%s is %s", c.UserID, k.Status)
		}
	}
	if s.changes(t, events.AppMisconfigured) != 1 || s.fleet.log.lines("provider refuses the app") != 1 {
		t.Errorf("told %d times, logged %d times", s.changes(t, events.AppMisconfigured), s.fleet.log.lines("provider refuses the app"))
	}
	// It is mended; somebody asks again after a while.
	s.store.app = good
	s.clock.add(2 * time.Minute)
	s.want(t, 2)
	if _, _, err := s.handOut(t.Context(), &tokenRequest{UserID: "u2", Provider: "strict"}, nil); err != nil {
		t.Errorf("the other connection: %v", err)
	}
}

func TestAnUnreadableAnswerIsKept(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.clock.add(2 * time.Hour)
	s.provider.Fail(oauthtest.Fault{Garbled: true})
	_, _, err := s.ask(t, 0)
	wantCode(t, err, events.CodeInternal)
	k := s.now(t)
	opened, err := s.store.open(&k)
	if err != nil || string(opened.Raw.Reveal()) != `{"access_token": "at_half` || opened.RefreshToken.IsZero() {
		t.Errorf("kept %q, %v", opened.Raw.Reveal(), err)
	}
	if k.Status != events.ConnectionActive || k.Refresh.Failure.Class != failAmbiguous || s.changes(t, events.RefreshUnreadable) != 1 {
		t.Errorf("%s, %+v", k.Status, k.Refresh)
	}
	if strings.Contains(s.fleet.log.String(), "at_half") {
		t.Error("the answer is in the log")
	}
	// The provider rotated: that was it, and we say that it may be our loss.
	for range 3 {
		s.clock.add(5 * time.Minute)
		_, _, err = s.ask(t, 0)
	}
	wantCode(t, err, events.CodeNeedsReauth)
	if c, err := s.store.get(t.Context(), "u1", s.c.ID); err != nil || !c.Refresh.Interrupted {
		t.Errorf("shown as %+v, %v", c, err)
	}
}

// Some providers let the same refresh token be used again for a while: a lost
// answer costs nothing there.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	s := newScene(t, oauthtest.Config{ReuseGrace: time.Hour})
	s.clock.add(2 * time.Hour)
	s.provider.Fail(oauthtest.Fault{Drop: true})
	_, _, err := s.ask(t, 0)
	wantCode(t, err, events.CodeInternal)
	if k := s.now(t); k.Refresh.Cut != 1 || k.Refresh.Failure.Class != failTransient {
		t.Errorf("%+v", k.Refresh)
	}
	s.clock.add(time.Minute)
	s.want(t, 2)
}

// interposed is an authority with something that happens before it answers.
type interposed struct {
	authority
	before func()
}

func (a *interposed) renew(ctx context.Context, in hand) (minted, error) {
	a.before()
	return a.authority.renew(ctx, in)
}

// What happens to a connection while its refresh is under way.
func TestChangesDuringARefresh(t *testing.T) {
	t.Run("renamed", func(t *testing.T) {
		s := newScene(t, oauthtest.Config{})
		s.clock.add(2 * time.Hour)
		name, yes := "work", true
		s.refresher.authority = &interposed{s.refresher.authority, func() {
			if _, err := s.store.amend(t.Context(), "u1", s.c.ID, amendment{Name: &name, Default: &yes}); err != nil {
				t.Error(err)
			}
		}}
		if k := s.want(t, 2); k.Name != name || !k.Default || k.DefaultSince.IsZero() {
			t.Errorf("kept as %+v", k.record)
		}
	})
	t.Run("connected again", func(t *testing.T) {
		s := newScene(t, oauthtest.Config{})
		s.clock.add(2 * time.Hour)
		newer := s.authorise(t)
		s.refresher.authority = &interposed{s.refresher.authority, func() {
			_, err := s.store.connect(t.Context(), grantInput{UserID: "u1", Provider: "strict", Auth: "oauth", App: "client", ConnectionID: s.c.ID, Credential: newer})
			if err != nil {
				t.Error(err)
			}
		}}
		_, _, err := s.ask(t, 0)
		k := s.now(t)
		opened, openErr := s.store.open(&k)
		if err != nil || openErr != nil || !opened.AccessToken.Equal(newer.AccessToken) || k.Version != 2 {
			t.Errorf("version %d, %v, %v", k.Version, err, openErr)
		}
		if s.fleet.log.lines("a later one is kept") != 1 {
			t.Errorf("log: %s", s.fleet.log)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		s := newScene(t, oauthtest.Config{})
		s.clock.add(2 * time.Hour)
		s.refresher.authority = &interposed{s.refresher.authority, func() {
			k := s.now(t)
			if err := s.store.erase(t.Context(), &k); err != nil {
				t.Error(err)
			}
		}}
		_, _, err := s.ask(t, 0)
		wantCode(t, err, events.CodeConnectionNotFound)
		if l := s.provider.Ledger(); l.Refreshes != 1 || l.Revocations != 1 {
			t.Errorf("%d refreshes, %d revocations", l.Refreshes, l.Revocations)
		}
	})
}

// A claim is taken over once it was seen for a whole lease, and then the same
// refresh token is tried first.
func TestAClaimOfTheDeadIsTakenOver(t *testing.T) {
	s := newScene(t, oauthtest.Config{ReuseGrace: time.Hour})
	s.refresher.timing.lease = 500 * time.Millisecond
	s.clock.add(2 * time.Hour)
	die := true
	s.refresher.crash = func(point string, _ *claim) bool { return point == pointAnswered && die }
	began := time.Now()
	if _, _, err := s.ask(t, 0); err == nil {
		t.Fatal("the dead answer")
	}
	die = false
	if k := s.now(t); k.Refresh.Holder == "" || k.Refresh.Attempt != 1 {
		t.Errorf("left behind: %+v", k.Refresh)
	}
	s.want(t, 2)
	if waited := time.Since(began); waited < s.refresher.timing.lease {
		t.Errorf("taken over after %s", waited)
	}
	if s.fleet.log.lines("taken over") != 1 {
		t.Errorf("log: %s", s.fleet.log)
	}
}

// broken is a bucket that takes nothing while it is down.
type broken struct {
	jetstream.KeyValue
	down atomic.Bool
}

func (b *broken) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if b.down.Load() {
		return 0, errors.New("the bus is away")
	}
	return b.KeyValue.Update(ctx, key, value, revision)
}

func (b *broken) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	if b.down.Load() {
		return nil, errors.New("the bus is away")
	}
	return b.KeyValue.Get(ctx, key)
}

// breakAfter has the bucket of s go away when the provider has answered.
func (s *scene) breakAfter() *broken {
	b := &broken{KeyValue: s.store.kv}
	s.store.kv = b
	s.refresher.crash = func(point string, _ *claim) bool {
		b.down.Store(point == pointAnswered)
		return false
	}
	return b
}

func TestACredentialThatTheBusDoesNotTakeIsSpilled(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	dir := t.TempDir()
	s.refresher.spill.dir = dir + "/unkept"
	s.clock.add(2 * time.Hour)
	b := s.breakAfter()
	s.serving.Store(true)
	close(s.store.index.loaded)
	got := make(chan error, 1)
	go func() {
		k, err := s.refresher.renewed(context.Background(), recordKey(s.c.Connection), want{after: 1})
		if err == nil && k.Version != 2 {
			err = errors.New("not refreshed")
		}
		got <- err
	}()
	file := dir + "/unkept/" + s.c.ID + spillSuffix
	eventually(t, "the spilled credential", func() bool { _, err := os.Stat(file); return err == nil })
	if err := s.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "1 refreshed") {
		t.Errorf("ready: %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text), "at_") || strings.Contains(string(text), "rt_") {
		t.Errorf("spilled: %s, %v", text, err)
	}
	if mode, err := os.Stat(file); err != nil || mode.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", mode.Mode(), err)
	}
	b.down.Store(false)
	if err := <-got; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	s.refresher.crash = nil
	s.want(t, 2)
	if s.refresher.unkept.Load() != 0 {
		t.Error("still not ready")
	}
}

func TestASpilledCredentialOutlivesItsProcess(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.refresher.spill.dir = t.TempDir()
	s.clock.add(2 * time.Hour)
	b := s.breakAfter()
	ended := make(chan error, 1)
	go func() {
		_, err := s.refresher.renewed(context.Background(), recordKey(s.c.Connection), want{after: 1})
		ended <- err
	}()
	eventually(t, "the spilled credential", func() bool { return s.refresher.unkept.Load() == 1 })
	s.refresher.timing.drain = 0
	if err := s.refresher.drain(); err == nil {
		t.Error("drained with a credential in hand")
	}
	if err := <-ended; err == nil {
		t.Error("the credential is kept where nothing is")
	}
	b.down.Store(false)

	next := s.add(t, fast)
	next.refresher.spill.dir = s.refresher.spill.dir
	s.start(t, next)
	eventually(t, "the credential to be back", func() bool { return s.now(t).Version == 2 })
	eventually(t, "an empty directory", func() bool { found, err := next.refresher.spill.load(); return err == nil && len(found) == 0 })
	s.Service = next
	s.want(t, 2)

	// Left behind once more, it is old by now and changes nothing.
	k := s.now(t)
	old := k.record
	old.Fence, old.Version = 1, 1
	if err := next.refresher.spill.put(k.key, &old); err != nil {
		t.Fatal(err)
	}
	next.refresher.unspillAll()
	if diff := cmp.Diff(k.record, s.now(t).record); diff != "" {
		t.Error(diff)
	}
	if found, err := next.refresher.spill.load(); err != nil || len(found) != 0 {
		t.Errorf("left: %v, %v", found, err)
	}
}
