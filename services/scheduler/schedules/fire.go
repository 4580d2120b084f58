package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/polls"
	"github.com/plugfn/plugfn/services/scheduler/runs"
)

// overAfter is when the request of a tick counts as over in any case. Results
// are kept for seven days, and no request goes on for six.
const overAfter = 6*24*time.Hour + time.Hour

// wake is the body of the message that a schedule is carried on by.
type wake struct {
	Generation uint64    `json:"generation"`
	At         time.Time `json:"at"`
}

// step is where tests can have the work on a schedule break off, as if the
// process had ended there.
type step string

const (
	stepRead      step = "read"
	stepPublished step = "published"
	stepParked    step = "parked"
	stepStored    step = "stored"
)

func (s *Service) reach(at step, r *record) error {
	if s.reached == nil {
		return nil
	}
	return s.reached(at, r.ID)
}

// Wake carries on the schedule that a firing of the bus is for. After nil all
// that was due is published, and the schedule wakes again. After an error the
// firing has to be delivered again; again says that it was delivered before.
func (s *Service) Wake(ctx context.Context, f bus.Firing, body []byte, again bool) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	var w wake
	if err := json.Unmarshal(body, &w); err != nil {
		s.Log.Error().Err(err).Str("target", f.Target).Msg("firing of a schedule unreadable")
		return nil
	}
	key := f.User + f.Target[strings.LastIndexByte(f.Target, '.'):]
	for range maxTries {
		err := s.carryOn(ctx, store, key, w, again)
		if !errors.Is(err, errTaken) {
			return err
		}
		again = true
	}
	return fmt.Errorf("carrying a schedule on: %w", errTaken)
}

func (s *Service) carryOn(ctx context.Context, store *store, key string, w wake, again bool) error {
	r, revision, err := store.get(ctx, key)
	switch {
	case errors.Is(err, errNone):
		return nil // deleted since
	case err != nil:
		return err
	case r.State != Active:
		return nil
	case w.Generation != r.Generation || !w.At.Equal(r.Wake):
		// It was changed, or another scheduler was faster. The present message may
		// have taken the place of the right one.
		return s.park(ctx, &r)
	}
	now := s.Now().UTC()
	if now.Before(w.At) {
		now = w.At // the server's clock counts: ours is behind it
	}
	if err := s.reach(stepRead, &r); err != nil {
		return err
	}
	d, err := s.fire(ctx, &r, now, again)
	if err != nil {
		return err
	}
	if r.State == Active {
		if err := s.park(ctx, &r); err != nil {
			return err
		}
	}
	if err := s.reach(stepParked, &r); err != nil {
		return err
	}
	if err := store.put(ctx, &r, revision); err != nil {
		return err
	}
	s.report(&r, &d)
	return s.reach(stepStored, &r)
}

// fire publishes what is due of r, and notes it there.
func (s *Service) fire(ctx context.Context, r *record, now time.Time, again bool) (decision, error) {
	d, err := s.decide(ctx, r, now)
	if err != nil {
		return d, err
	}
	for _, f := range d.fire {
		t := Tick{ID: r.tickID(f.at), At: f.at, FiredAt: now, Missed: f.missed}
		if err := s.publish(ctx, r, &t, again); err != nil {
			return d, err
		}
		r.Last = &t
	}
	r.apply(&d, now)
	return d, s.reach(stepPublished, r)
}

func (s *Service) decide(ctx context.Context, r *record, now time.Time) (decision, error) {
	rules, err := r.rule()
	if err != nil {
		return decision{}, fmt.Errorf("reading the rule of %s: %w", r.ID, err)
	}
	busy := false
	if r.Overlap != Allow {
		if busy, err = s.busy(ctx, r, now); err != nil {
			return decision{}, err
		}
	}
	return decide(r, rules, now, busy), nil
}

// apply notes what was done.
func (r *record) apply(d *decision, now time.Time) {
	r.Settled, r.Next, r.Wake, r.Waiting = d.settled, d.next, d.wake, d.waiting
	r.Counts.Fired += uint64(len(d.fire))
	r.Counts.Missed += uint64(d.missed)
	r.Counts.Skipped += uint64(d.skipped)
	if d.wake.IsZero() {
		r.State, r.EndedAt = Done, now
	}
}

func (s *Service) report(r *record, d *decision) {
	line := s.Log.Debug()
	if d.missed > 0 {
		line = s.Log.Info()
	}
	line.Str("schedule", r.ID).Int("fired", len(d.fire)).Int("missed", d.missed).Int("skipped", d.skipped).
		Int("waiting", len(d.waiting)).Time("next", d.next).Msg("schedule carried on")
}

// park has the bus wake r at the time that it says.
func (s *Service) park(ctx context.Context, r *record) error {
	body, err := json.Marshal(wake{r.Generation, r.Wake})
	if err != nil {
		return fmt.Errorf("encoding when to wake: %w", err)
	}
	return s.Parking.Park(ctx, bus.Later{
		Kind: bus.KindSchedule, User: r.UserID, ID: r.ID, At: r.Wake, Target: bus.WakeTarget(r.UserID, r.ID), Data: body,
	})
}

// busy reports whether the request of the last tick has no result yet.
func (s *Service) busy(ctx context.Context, r *record, now time.Time) (bool, error) {
	if r.Last == nil || now.Sub(r.Last.FiredAt) > overAfter {
		return false, nil
	}
	found, err := s.last(ctx, events.StreamResults, events.PrefixResult+events.Token(r.UserID)+".*.*."+events.Token(r.Last.ID))
	if err != nil {
		return false, fmt.Errorf("looking for a result: %w", err)
	}
	return found == nil, nil
}

// last is the last message of a subject; nil where there is none.
func (s *Service) last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	from, err := s.JetStream.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	msg, err := from.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return msg, err
}

// publish sends a tick to its target. One that is there already, by its id, is
// not stored again.
func (s *Service) publish(ctx context.Context, r *record, t *Tick, again bool) error {
	msg, stream, err := r.message(t)
	if err != nil {
		return err
	}
	if again && r.Target.Event != nil {
		// The stream may have forgotten its id, if whoever published it ended long
		// ago. Of requests the executor remembers them.
		last, err := s.last(ctx, stream, msg.Subject)
		if err != nil {
			return fmt.Errorf("looking for the tick %s: %w", t.ID, err)
		}
		if last != nil && events.HeaderValue(last.Header, headerEventID) == t.ID {
			return nil
		}
	}
	msg.Header.Set(jetstream.MsgIDHeader, r.Nonce+t.ID)
	if _, err := s.JetStream.PublishMsg(ctx, msg, jetstream.WithExpectStream(stream)); err != nil {
		return fmt.Errorf("publishing the tick %s: %w", t.ID, err)
	}
	return nil
}

// headerEventID bears the id of an event.
const headerEventID = "ce-id"

// tickData is the body of an event.
type tickData struct {
	Schedule scheduleName    `json:"schedule"`
	Tick     *Tick           `json:"tick"`
	Data     json.RawMessage `json:"data,omitempty"`
}

type scheduleName struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// message makes what a tick is for its target, and names the stream for it.
func (r *record) message(t *Tick) (*nats.Msg, string, error) {
	if a := r.Target.Action; a != nil {
		request := events.ActionRequest{
			ID: t.ID, UserID: r.UserID, Provider: a.Provider, Action: a.Action, ConnectionID: a.ConnectionID, Params: a.Params,
		}
		return request.Msg(request.Subject()), events.StreamActions, nil
	}
	if p := r.Target.Poll; p != nil {
		look := polls.Tick{ID: t.ID, UserID: r.UserID, Schedule: r.ID, Nonce: r.Nonce, Subscription: *p}
		msg, err := look.Msg()
		return msg, events.StreamRuns, err
	}
	if w := r.Target.Workflow; w != nil {
		msg, err := r.start(t, w)
		return msg, events.StreamRuns, err
	}
	e := r.Target.Event
	if e == nil {
		return nil, "", fmt.Errorf("schedule %s has a target of no known kind", r.ID)
	}
	data, err := json.Marshal(tickData{scheduleName{r.ID, r.Name}, t, e.Data})
	if err != nil {
		return nil, "", fmt.Errorf("encoding the tick %s: %w", t.ID, err)
	}
	event := events.Event{
		ID: t.ID, Source: "/plugfn/" + eventProvider + "/" + r.ID + "/_", Type: "dev.plugfn." + eventProvider + "." + e.Name,
		Subject: r.ID, Time: t.At, DataContentType: "application/json", UserID: r.UserID, Provider: eventProvider, EventName: e.Name,
		Verified: events.VerifiedBodyTime, // it comes from here
		Data:     data,
	}
	return event.Msg(events.EventSubject(r.UserID, eventProvider, e.Name)), events.StreamEvents, nil
}

// start makes the message that starts a run, once for each tick.
func (r *record) start(t *Tick, w *WorkflowTarget) (*nats.Msg, error) {
	cause := runs.Cause{Kind: runs.BySchedule, ID: t.ID}
	event, err := json.Marshal(map[string]string{"time": t.At.UTC().Format(time.RFC3339Nano)})
	if err != nil {
		return nil, fmt.Errorf("encoding the tick %s: %w", t.ID, err)
	}
	return runs.StartMessage(r.UserID, w.Name, cause, event, w.Input)
}
