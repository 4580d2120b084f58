package schedules

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/polls"
)

// maxNext is how many ticks ahead are shown.
const maxNext = 100

// View is a schedule as it is shown.
type View struct {
	ID     string `json:"id"`
	UserID string `json:"user_id"`
	Plan
	State   State     `json:"state" enum:"active,paused,done" doc:"done: it has had its last tick, and is deleted after a week."`
	NextAt  time.Time `json:"next_at,omitzero" doc:"When the next tick fires."`
	Owner   string    `json:"owner,omitempty" doc:"The workflow that it is the trigger of, which alone can change it."`
	Waiting int       `json:"waiting,omitempty" doc:"Ticks that wait for the one before them."`
	Last    *Tick     `json:"last,omitempty" doc:"The tick that fired last."`
	Counts  Counts    `json:"counts"`
	// Look is set where one schedule with such a target is shown by itself.
	Look      *polls.Look `json:"look,omitempty" doc:"What looking has come to, of a schedule that looks for a trigger."`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
}

// Ahead is a tick that is to come.
type Ahead struct {
	At      time.Time `json:"at" doc:"Its time by the rule."`
	FiresAt time.Time `json:"fires_at" doc:"The same with its jitter."`
}

func (r *record) view() View {
	v := View{
		ID: r.ID, UserID: r.UserID, Plan: r.Plan, State: r.State, Owner: r.Owner, Waiting: len(r.Waiting), Last: r.Last,
		Counts: r.Counts, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if rules, err := r.rule(); err == nil && r.State == Active {
		v.NextAt = rules.Fire(r.ID, r.Next)
	}
	return v
}

// ahead are the next n ticks; of one that is paused, those it would have.
func (r *record) ahead(now time.Time, n int) ([]Ahead, error) {
	all := []Ahead{}
	rules, err := r.rule()
	if err != nil || r.State == Done {
		return all, asInvalid(err)
	}
	at := r.Next
	if r.State == Paused {
		at = rules.Next(now)
	}
	for ; !at.IsZero() && len(all) < n; at = rules.Next(at) {
		all = append(all, Ahead{at, rules.Fire(r.ID, at)})
	}
	return all, nil
}

// Create makes a schedule of a user. What is wrong with p is an *events.Error
// that names the field and the fix, and nothing is made then.
func (s *Service) Create(ctx context.Context, user string, p Plan) (View, error) {
	r, err := s.create(ctx, user, p)
	if err != nil {
		return View{}, err
	}
	return r.view(), nil
}

// create makes a schedule.
func (s *Service) create(ctx context.Context, user string, p Plan) (record, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return record{}, err
	}
	if user == "" || len(user) > maxUser || !isPlain(user) {
		return record{}, invalid("user_id", "must be from 1 to %d bytes without control characters: it says whose schedule it is", maxUser)
	}
	now := s.Now().UTC()
	r := record{ID: id.New("sch"), UserID: user, Anchor: now.Truncate(time.Second), Nonce: rand.Text(), CreatedAt: now, UpdatedAt: now}
	if _, err := p.check(user, s.Providers, r.Anchor); err != nil {
		return record{}, err
	}
	r.Plan = p
	if err := r.renew(now); err != nil {
		return record{}, err
	}
	if err := s.quota.take(ctx, store, user); err != nil {
		return record{}, err
	}
	if err := store.put(ctx, &r, 0); err != nil {
		return record{}, err
	}
	if err := s.park(ctx, &r); err != nil {
		return record{}, errors.Join(err, store.delete(context.WithoutCancel(ctx), &r))
	}
	s.note(&r, "created")
	return r, nil
}

// edit changes a schedule by compare-and-swap, and has it wake at the right time.
// change may be called again, on a later record.
func (s *Service) edit(ctx context.Context, user, scheduleID, what string, change func(*record, time.Time) error) (record, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return record{}, err
	}
	for range maxTries {
		r, revision, err := store.find(ctx, user, scheduleID)
		if err != nil {
			return record{}, err
		}
		before := r.Generation
		now := s.Now().UTC()
		if err := change(&r, now); err != nil {
			return record{}, err
		}
		r.UpdatedAt = now
		err = store.put(ctx, &r, revision)
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return record{}, err
		}
		s.note(&r, what)
		if r.Generation != before {
			s.rechain(ctx, &r)
		}
		return r, nil
	}
	return record{}, events.Errorf(events.CodeInternal, "the schedule keeps changing; try again")
}

// rechain parks what wakes r, or cancels it. What fails is left to the next look.
func (s *Service) rechain(ctx context.Context, r *record) {
	var err error
	if r.State == Active {
		err = s.park(ctx, r)
	} else {
		err = s.Parking.Unpark(ctx, bus.KindSchedule, r.UserID, r.ID)
	}
	if err != nil {
		s.Log.Warn().Err(err).Str("schedule", r.ID).Msg("schedule not parked: looking after it soon")
		s.looking.Soon()
	}
}

func (s *Service) pause(ctx context.Context, user, scheduleID string) (record, error) {
	return s.edit(ctx, user, scheduleID, "paused", func(r *record, _ time.Time) error {
		if err := r.free(); err != nil {
			return err
		}
		switch r.State {
		case Done:
			return invalid("state", "the schedule is done: it has no more ticks")
		case Active:
			r.pause()
		}
		return nil
	})
}

func (r *record) pause() {
	r.Generation++
	r.State, r.Waiting, r.Wake = Paused, nil, time.Time{}
}

// resume begins a schedule anew: what it had meanwhile is not made up for.
func (s *Service) resume(ctx context.Context, user, scheduleID string) (record, error) {
	return s.edit(ctx, user, scheduleID, "resumed", func(r *record, now time.Time) error {
		switch r.State {
		case Done:
			return invalid("state", "the schedule is done: it has no more ticks")
		case Active:
			return nil
		}
		return r.renew(now)
	})
}

// amend changes the plan, which is judged as a whole. The schedule begins anew.
func (s *Service) amend(ctx context.Context, user, scheduleID string, a *Amendment) (record, error) {
	if a.isEmpty() {
		return record{}, invalid("body", "say what to change")
	}
	return s.edit(ctx, user, scheduleID, "changed", func(r *record, now time.Time) error {
		if err := r.free(); err != nil {
			return err
		}
		state, before := r.State, r.Plan
		a.Apply(&r.Plan)
		if r.Every != before.Every {
			r.Anchor = now.Truncate(time.Second)
		}
		if _, err := r.check(r.UserID, s.Providers, r.Anchor); err != nil {
			return err
		}
		if err := r.renew(now); err != nil {
			return err
		}
		if state == Paused {
			r.pause()
		}
		return nil
	})
}

// remove deletes a schedule.
func (s *Service) remove(ctx context.Context, user, scheduleID string) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	r, _, err := store.find(ctx, user, scheduleID)
	if err == nil {
		err = r.free()
	}
	if err != nil {
		return err
	}
	return s.drop(ctx, store, &r)
}

func (s *Service) drop(ctx context.Context, store *store, r *record) error {
	if err := store.delete(ctx, r); err != nil {
		return err
	}
	s.note(r, "deleted")
	if err := s.Parking.Unpark(ctx, bus.KindSchedule, r.UserID, r.ID); err != nil {
		s.Log.Debug().Err(err).Str("schedule", r.ID).Msg("what would wake a deleted schedule is still parked")
	}
	return nil
}

// run fires a tick by hand, whatever the rule and the state.
func (s *Service) run(ctx context.Context, user, scheduleID string) (record, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return record{}, err
	}
	r, _, err := store.find(ctx, user, scheduleID)
	if err != nil {
		return record{}, err
	}
	now := s.Now().UTC()
	t := Tick{ID: r.ID + "-" + id.New("now"), At: now, FiredAt: now, ByHand: true}
	if err := s.publish(ctx, &r, &t, false); err != nil {
		return record{}, err
	}
	return s.edit(ctx, r.UserID, scheduleID, "run by hand", func(r *record, _ time.Time) error {
		r.Last = &t
		r.Counts.Fired++
		return nil
	})
}

func (s *Service) get(ctx context.Context, user, scheduleID string) (record, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return record{}, err
	}
	r, _, err := store.find(ctx, user, scheduleID)
	return r, err
}

// show is one schedule with all that is known of it.
func (s *Service) show(ctx context.Context, user, scheduleID string) (View, error) {
	r, err := s.get(ctx, user, scheduleID)
	if err != nil {
		return View{}, err
	}
	v := r.view()
	if r.Target.Poll == nil {
		return v, nil
	}
	look, ok, err := polls.LookOf(ctx, s.JetStream, r.UserID, r.ID)
	if ok {
		v.Look = &look
	}
	return v, err
}

func (s *Service) list(ctx context.Context, q query) ([]record, string, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return nil, "", err
	}
	return store.list(ctx, q)
}

// next are the ticks to come of a schedule.
func (s *Service) next(ctx context.Context, user, scheduleID string, n int) ([]Ahead, error) {
	if n < 1 || n > maxNext {
		return nil, invalid("n", "must be from 1 to %d", maxNext)
	}
	r, err := s.get(ctx, user, scheduleID)
	if err != nil {
		return nil, err
	}
	return r.ahead(s.Now(), n)
}

func (s *Service) note(r *record, what string) {
	s.Log.Info().Str("schedule", r.ID).Str("state", string(r.State)).Str("change", what).Msg("schedule changed")
}
