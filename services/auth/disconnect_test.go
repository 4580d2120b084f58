package auth

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// waiting counts the credentials that wait to be given back.
func (s *scene) waiting(t *testing.T) int {
	t.Helper()
	n := 0
	if err := scan(t.Context(), s.store.revocations, allKeys, func(jetstream.KeyValueEntry) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

// done wants the audit to end with what, and nothing to be left of the
// connection but that.
func (s *scene) done(t *testing.T, what string) {
	t.Helper()
	if n := s.waiting(t); n != 0 {
		t.Errorf("%d revocations wait", n)
	}
	entries, err := s.audit.of(t.Context(), &s.c.Connection)
	if err != nil || len(entries) == 0 || entries[0].What != what {
		t.Errorf("audit: %+v, %v", entries, err)
	}
}

func TestDisconnectRevokesAtTheProvider(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	if out, err := s.disconnect(t.Context(), "u1", s.c.ID); err != nil || out != (disconnected{Attempted: true, Succeeded: true, Deleted: true}) {
		t.Errorf("got %+v, %v", out, err)
	}
	if l := s.provider.Ledger(); l.Revocations != 1 || l.LiveFamilies != 0 {
		t.Errorf("%d revocations, %d grants live", l.Revocations, l.LiveFamilies)
	}
	_, err := s.disconnect(t.Context(), "u1", s.c.ID)
	wantCode(t, err, events.CodeConnectionNotFound)
	s.done(t, auditRevoked)
}

func TestDisconnectDoesNotWaitForTheProvider(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.provider.Fail(oauthtest.Fault{Status: http.StatusServiceUnavailable}, oauthtest.Fault{Status: http.StatusTooManyRequests})
	if out, err := s.disconnect(t.Context(), "u1", s.c.ID); err != nil || out != (disconnected{Attempted: true, Deleted: true}) {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := s.store.get(t.Context(), "u1", s.c.ID); err == nil {
		t.Error("the connection is still there")
	}
	if s.changes(t, events.Deleted) != 1 {
		t.Error("not announced")
	}
	entry, err := s.store.revocations.Get(t.Context(), recordKey(s.c.Connection))
	if err != nil || strings.Contains(string(entry.Value()), "at_") {
		t.Errorf("kept: %s, %v", entry.Value(), err)
	}
	// The next attempt is parked, and so is the one after it.
	j := revokeJob(&s.c.Connection)
	for range 2 {
		if err := s.refresher.revoke(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.provider.Ledger(); l.Revocations != 1 {
		t.Errorf("%d revocations", l.Revocations)
	}
	s.done(t, auditRevoked)
	if err := s.refresher.revoke(t.Context(), j); err != nil { // a schedule that fires twice
		t.Error(err)
	}
}

func TestRevokingIsGivenUpAfterADay(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	for range 40 {
		s.provider.Fail(oauthtest.Fault{Status: http.StatusBadGateway})
	}
	if _, err := s.disconnect(t.Context(), "u1", s.c.ID); err != nil {
		t.Fatal(err)
	}
	j := revokeJob(&s.c.Connection)
	attempts := 0
	for ; s.waiting(t) > 0 && attempts < 100; attempts++ {
		at := s.parked(t, j)
		if wait := at.Sub(s.clock.now()); wait > revokePauseMax || wait < 0 && attempts > 0 {
			t.Errorf("attempt %d is %s ahead", attempts, wait)
		}
		s.clock.ahead.Store(int64(time.Until(at)))
		if err := s.refresher.revoke(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	if attempts < 10 || attempts > 30 {
		t.Errorf("%d attempts in a day", attempts)
	}
	s.done(t, auditUnrevoked)
}

// parked is when a job is due.
func (s *scene) parked(t *testing.T, j job) time.Time {
	t.Helper()
	stream, err := s.bus.JetStream().Stream(t.Context(), events.StreamLater)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), events.LaterSubject("connection", j.UserID, j.id()))
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("@at "+time.RFC3339Nano, msg.Header.Get(jetstream.ScheduleHeader))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// A process that died between writing down the plan and deleting: the user was
// told nothing, and the connection is used on.
func TestAPlanWithoutADeletionDoesNothing(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	k := s.now(t)
	in, err := s.store.hand(t.Context(), &k)
	if err == nil {
		err = s.refresher.plan(t.Context(), &k, &in)
	}
	if err == nil {
		err = s.refresher.revoke(t.Context(), revokeJob(&s.c.Connection))
	}
	if err != nil {
		t.Fatal(err)
	}
	if l := s.provider.Ledger(); l.Revocations != 0 || s.waiting(t) != 0 {
		t.Errorf("%d revocations, %d wait", l.Revocations, s.waiting(t))
	}
	s.want(t, 1)
}

func TestRevocationsThatCannotBeMade(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	if _, err := s.disconnect(t.Context(), "u1", s.c.ID); err != nil {
		t.Fatal(err)
	}
	key := recordKey(s.c.Connection)
	unopened, err := json.Marshal(revocation{Connection: s.c.Connection, Since: s.clock.now(), Credential: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string][]byte{"no JSON": []byte("{"), "of another": []byte("{}"), "sealed elsewhere": unopened} {
		if _, err := s.store.revocations.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		if err := s.refresher.revoke(t.Context(), revokeJob(&s.c.Connection)); err != nil || s.waiting(t) != 0 {
			t.Errorf("%s: %v, %d wait", name, err, s.waiting(t))
		}
	}
	if l := s.provider.Ledger(); l.Revocations != 1 {
		t.Errorf("%d revocations", l.Revocations)
	}
}

// What knows no way of revoking is deleted, and that is all.
func TestDisconnectOfAnAPIKey(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	c, err := s.create(t.Context(), newConnection{UserID: "u1", Provider: "strict", Auth: "token", Token: secret("t")})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.disconnect(t.Context(), "u1", c.ID); err != nil || out != (disconnected{Deleted: true}) || s.waiting(t) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}
