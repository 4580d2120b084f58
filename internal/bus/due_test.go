package bus

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestDueRefuses(t *testing.T) {
	const (
		schedule = "plugfn.later.action.u1.a"
		subject  = "plugfn.due.action.u1"
		target   = "plugfn.action.u1.github.push"
	)
	for name, c := range map[string]struct{ subject, schedule, target, want string }{
		"good":               {subject, schedule, target, ""},
		"no schedule":        {subject, "", target, "Nats-Scheduler"},
		"foreign schedule":   {subject, "other.later.action.u1.a", target, "not a schedule of PlugFn"},
		"short schedule":     {subject, "plugfn.later.action.u1", target, "not a schedule of PlugFn"},
		"long schedule":      {subject, schedule + ".b", target, "not a schedule of PlugFn"},
		"due of another":     {"plugfn.due.action.u2", schedule, target, "not that of schedule"},
		"due of other kind":  {"plugfn.due.run.u1", schedule, target, "not that of schedule"},
		"target of another":  {subject, schedule, "plugfn.action.u2.github.push", "must start with plugfn.action.u1."},
		"target of all":      {subject, schedule, "plugfn.action.u1.>", "not a token"},
		"target of no kind":  {subject, schedule, "plugfn.svc.auth.token", "must start with plugfn.action.u1."},
		"no target":          {subject, schedule, "", "Plugfn-Target"},
		"unknown kind":       {"plugfn.due.event.u1", "plugfn.later.event.u1.a", "plugfn.event.u1.github.push", "none of action, run, connection and schedule"},
		"run":                {"plugfn.due.run.u1", "plugfn.later.run.u1.a", "plugfn.run.u1.flow.wake", ""},
		"connection":         {"plugfn.due.connection.u1", "plugfn.later.connection.u1.a", "plugfn.connection.u1.github.due", ""},
		"schedule":           {"plugfn.due.schedule.u1", "plugfn.later.schedule.u1.a", WakeTarget("u1", "a"), ""},
		"schedule of all":    {"plugfn.due.schedule.u1", "plugfn.later.schedule.u1.a", WakeTarget("u2", "a"), "must start with plugfn.svc.scheduler.wake.u1."},
		"action as schedule": {"plugfn.due.schedule.u1", "plugfn.later.schedule.u1.a", target, "must start with plugfn.svc.scheduler.wake.u1."},
		"connection of all":  {"plugfn.due.connection.u1", "plugfn.later.connection.u1.a", "plugfn.connection.u2.github.due", "must start with plugfn.connection.u1."},
		"run for an action":  {"plugfn.due.run.u1", "plugfn.later.run.u1.a", target, "must start with plugfn.run.u1."},
		"everything missing": {"", "", "", "Nats-Scheduler"},
	} {
		header := nats.Header{}
		header.Set("Nats-Scheduler", c.schedule)
		header.Set(HeaderTarget, c.target)
		_, err := Due(c.subject, header, 1)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// TestTargetsOfTheContract has every action subject that the contract can make
// accepted for its user and for nobody else.
func TestTargetsOfTheContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		user, other := rapid.String().Draw(t, "user"), rapid.String().Draw(t, "other")
		provider, action := rapid.String().Draw(t, "provider"), rapid.String().Draw(t, "action")
		l := Later{
			Kind: KindAction, User: user, ID: rapid.StringN(1, -1, -1).Draw(t, "id"), At: time.Unix(1, 0),
			Target: events.ActionSubject(user, provider, action),
		}
		msg, err := l.msg(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if len(msg.Subject) > events.MaxSubject {
			t.Errorf("subject of %d bytes", len(msg.Subject))
		}
		msg.Header.Set("Nats-Scheduler", msg.Subject) // as the server does
		f, err := Due(msg.Header.Get("Nats-Schedule-Target"), msg.Header, 1)
		if err != nil || f.Target != l.Target || f.User != events.Token(user) {
			t.Errorf("due as %+v, %v", f, err)
		}
		if l.User = other; events.Token(user) != events.Token(other) {
			if _, err := l.msg(time.Now()); err == nil {
				t.Errorf("%q may park for %q", other, user)
			}
		}
	})
}

// TestPatternKeepsFractions guards against firing early by cutting to seconds.
func TestPatternKeepsFractions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(1, 1<<31).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		l := Later{At: at.In(time.FixedZone("", 3600))}
		pattern, err := l.pattern(at)
		if err != nil {
			t.Fatal(err)
		}
		back, err := time.Parse("@at "+time.RFC3339, pattern) // the layout that the server reads
		if err != nil || !back.Equal(at) {
			t.Errorf("%q reads as %s, %v, want %s", pattern, back, err, at)
		}
	})
}

func FuzzDue(f *testing.F) {
	f.Add("plugfn.due.action.u1", "plugfn.later.action.u1.a", "plugfn.action.u1.p.a", "X", "v", uint64(1))
	f.Add("plugfn.due.run._", "plugfn.later.run._.h-0", "plugfn.run._.f.s", "nats-msg-id", "v", uint64(0))
	f.Add("plugfn.due.action.u1", "plugfn.later.action.u1.", "plugfn.action.u1.>", "PLUGFN-TARGET", "", uint64(1<<63))
	f.Add("", "", "", "", "", uint64(0))
	f.Fuzz(func(t *testing.T, subject, schedule, target, name, value string, sequence uint64) {
		header := nats.Header{name: {value}}
		header.Set("Nats-Scheduler", schedule)
		header.Set(HeaderTarget, target)
		got, err := Due(subject, header, sequence)
		if err != nil {
			return
		}
		prefix, known := targetPrefix(got.Kind)
		if !known || !strings.HasPrefix(got.Target, prefix+got.User+".") || !strings.HasPrefix(got.ID, schedule+"@") {
			t.Errorf("%q %q %q reads as %+v", subject, schedule, target, got)
		}
		if strings.ContainsAny(got.Target, "*> \t\r\n") || len(got.Target) > events.MaxSubject {
			t.Errorf("target %q", got.Target)
		}
		for name := range got.Header {
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "nats-") || lower == "plugfn-target" {
				t.Errorf("header %q travels", name)
			}
		}
	})
}
