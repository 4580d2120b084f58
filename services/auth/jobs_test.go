package auth

import (
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// From the schedule to the new token, without anybody asking for it.
func TestSchedulesRefresh(t *testing.T) {
	f := newFleet(t, oauthtest.Config{AccessLife: time.Second})
	f.move(t)
	f.start(t, f.add(t, fast))
	c := f.connect(t, "u1")
	eventually(t, "two refreshes", func() bool { return f.record(t, c.Connection).Version >= 3 })
}

// A schedule that comes too early, late, twice or for nothing.
func TestJobsOutOfPlace(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	j := refreshJob(&record{Connection: s.c.Connection})
	planned := s.parked(t, j)
	do := func(j job) {
		t.Helper()
		if err := s.refresher.refreshDue(t.Context(), j); err != nil {
			t.Error(err)
		}
	}
	do(j)
	if again := s.parked(t, j); s.now(t).Version != 1 || !again.Equal(planned) {
		t.Errorf("too early: version %d, then at %s instead of %s", s.now(t).Version, again, planned)
	}
	s.clock.add(2 * time.Hour)
	do(j)
	do(j)
	if s.now(t).Version != 2 || !s.parked(t, j).After(s.clock.now()) {
		t.Errorf("due, and once more: version %d", s.now(t).Version)
	}
	none := j
	none.ConnectionID = "con_none"
	do(none)
	k := s.now(t)
	if err := s.refresher.giveUp(t.Context(), &k, failure{Class: failDead}); err != nil {
		t.Fatal(err)
	}
	s.clock.add(2 * time.Hour)
	do(j)
	if l := s.provider.Ledger(); l.Refreshes != 1 {
		t.Errorf("%d refreshes", l.Refreshes)
	}
	plain := s.connectPlain(t, "u3")
	s.clock.add(2 * time.Hour)
	do(refreshJob(&record{Connection: plain.Connection}))
	if k := s.record(t, plain.Connection); k.Status != events.ConnectionNeedsReauth || k.Refresh.Failure.Code != codeExpired {
		t.Errorf("a token that cannot be renewed: %s", k.Status)
	}
}

// A schedule that fires while the provider is away leaves one for later behind.
func TestAPostponedRefreshKeepsItsSchedule(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.clock.add(2 * time.Hour)
	s.provider.Fail(oauthtest.Fault{Status: 503, RetryAfter: time.Minute})
	j := refreshJob(&record{Connection: s.c.Connection})
	if err := s.refresher.refreshDue(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if at := s.parked(t, j).Sub(s.clock.now()); at < 50*time.Second || at > 2*time.Minute {
		t.Errorf("next in %s", at)
	}
}

// A service that starts finds the connections whose schedules were lost.
func TestLateConnectionsAreScheduledAnew(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	other := s.connect(t, "u2")
	j := refreshJob(&record{Connection: s.c.Connection})
	if err := s.store.unpark(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	s.clock.add(2 * time.Hour)
	k := s.record(t, other.Connection) // which is not late
	fresh := k.record
	if err := s.store.put(&fresh, s.authorise(t), true, s.clock.now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.swap(t.Context(), &k, &fresh); err != nil {
		t.Fatal(err)
	}
	s.start(t, s.Service)
	eventually(t, "a schedule", func() bool { return s.fleet.log.lines(`"connections":1`) == 1 })
	if wait := s.parked(t, j).Sub(s.clock.now()); wait > lateWithin {
		t.Errorf("in %s", wait)
	}
}

func FuzzParseJob(f *testing.F) {
	f.Add("plugfn.connection.u1.github.due", []byte(`{"job":"refresh","user_id":"u1","provider":"github","connection_id":"con_1"}`))
	f.Add("plugfn.connection.u1.github.due", []byte(`{"job":"revoke","user_id":"u1","provider":"github","connection_id":"*"}`))
	f.Add("plugfn.connection._.github.due", []byte(`{"job":"refresh","provider":"github","connection_id":">"}`))
	f.Add("plugfn.connection.u2.github.due", []byte(`null`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		j, err := parseJob(subject, body)
		if err != nil {
			return
		}
		if j.subject() != subject || namedBy(j.key()).ID == "" && j.ConnectionID != namedBy(j.key()).ID && len(j.ConnectionID) <= 60 {
			t.Errorf("the job %+v came on %q", j, subject)
		}
	})
}

// What is no job is dropped, and does not come again.
func TestStrangeJobsAreDropped(t *testing.T) {
	f := newFleet(t, oauthtest.Config{})
	f.start(t, f.add(t, fast))
	for _, body := range []string{"", "{}", `{"job":"refresh","user_id":"u2","provider":"strict","connection_id":"con_1"}`} {
		if _, err := f.bus.JetStream().Publish(t.Context(), events.ConnectionSubject("u1", "strict", events.Due), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "them to be dropped", func() bool { return f.log.lines("job dropped") == 3 })
	stream, err := f.bus.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.Consumer(t.Context(), dueDurable)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing to be pending", func() bool {
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumAckPending == 0 && info.NumPending == 0
	})
}
