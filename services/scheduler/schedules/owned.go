package schedules

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// ownedID is the id of the schedule of a workflow: the same whoever makes it.
func ownedID(user, name string) string {
	sum := sha256.Sum256([]byte(user + "\x00" + name))
	letters := strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
	return "sch_" + letters[:id.Size]
}

// free is an error where the schedule is the trigger of a workflow.
func (r *record) free() error {
	if r.Owner == "" {
		return nil
	}
	return invalid("id", "is the trigger of the workflow %s: change that with plugfn workflow apply, or stop it with plugfn workflow disable", r.Owner)
}

// Keep has the trigger of a workflow fire as t says. One that does already goes
// on undisturbed.
func (s *Service) Keep(ctx context.Context, user, name string, t workflow.Schedule) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	plan := Plan{Name: name, Cron: t.Cron, Zone: t.Zone, Target: Target{Workflow: &WorkflowTarget{Name: name}}}
	if t.Every > 0 {
		plan.Every = time.Duration(t.Every).String()
	}
	for range maxTries {
		r, _, err := store.get(ctx, events.Key(user, ownedID(user, name)))
		switch {
		case errors.Is(err, errNone):
			err = s.own(ctx, store, user, name, plan)
			if errors.Is(err, errTaken) {
				continue
			}
			return err
		case err != nil:
			return err
		case r.State == Active && r.Cron == plan.Cron && r.Zone == plan.Zone && r.Every == plan.Every:
			return nil
		}
		_, err = s.edit(ctx, user, r.ID, "changed by its workflow", func(r *record, now time.Time) error {
			if r.Every != plan.Every {
				r.Anchor = now.Truncate(time.Second)
			}
			r.Plan = plan
			if _, err := r.check(user, s.Providers, r.Anchor); err != nil {
				return err
			}
			return r.renew(now)
		})
		return err
	}
	return errTaken
}

// own makes the schedule of a workflow.
func (s *Service) own(ctx context.Context, store *store, user, name string, plan Plan) error {
	now := s.Now().UTC()
	r := record{
		ID: ownedID(user, name), UserID: user, Owner: name, Anchor: now.Truncate(time.Second), Nonce: rand.Text(), CreatedAt: now, UpdatedAt: now, Plan: plan,
	}
	if _, err := r.check(user, s.Providers, r.Anchor); err != nil {
		return err
	}
	if err := r.renew(now); err != nil {
		return err
	}
	if err := store.create(ctx, &r); err != nil {
		return err
	}
	s.note(&r, "created for its workflow")
	s.rechain(ctx, &r)
	return nil
}

// Drop takes the schedule of a workflow away. That there is none is no error.
func (s *Service) Drop(ctx context.Context, user, name string) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	r, _, err := store.get(ctx, events.Key(user, ownedID(user, name)))
	if errors.Is(err, errNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.drop(ctx, store, &r)
}

// Kept calls visit for each schedule that is the trigger of a workflow.
func (s *Service) Kept(ctx context.Context, visit func(user, name string)) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	return store.each(ctx, "", func(r *record) {
		if r.Owner != "" {
			visit(r.UserID, r.Owner)
		}
	})
}
