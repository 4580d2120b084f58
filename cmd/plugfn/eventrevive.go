package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/ingress"
)

// revival reads deliveries again that could not be read when they came.
type revival struct {
	replay *replay
	target *target
	packs  map[string]*providers.Pack
	router *ingress.Rerouter
	blocks map[string]*providers.Webhooks // :: endpoint → its block
}

// revived is what came of it.
type revived struct {
	DryRun     bool            `json:"dry_run,omitempty"`
	Deliveries int             `json:"deliveries"` // that fit
	Published  int             `json:"published"`  // events made of them; with a dry run: that would be
	Known      int             `json:"known"`      // events that had been published before
	Unreadable int             `json:"unreadable"` // deliveries that still make no event
	All        []revivedLetter `json:"results"`
}

// revivedLetter is what came of one delivery.
type revivedLetter struct {
	Sequence uint64   `json:"seq"`
	ID       string   `json:"id"`
	Provider string   `json:"provider"`
	Events   []string `json:"events,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// maxResults is how many results of single deliveries are told.
const maxResults = 1000

func (r *replay) revive(cmd *cobra.Command, p *printer, s *eventStore) error {
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	v := revival{replay: r, target: t, blocks: map[string]*providers.Webhooks{}}
	if v.packs, err = t.packs(); err != nil {
		return err
	}
	if v.router, err = ingress.NewRerouter(cmd.Context(), s.js); err != nil {
		return &failure{exit: exitUnreachable, what: "the connections cannot be read", cause: err, fix: startFix}
	}
	out := revived{DryRun: r.dry, All: []revivedLetter{}}
	err = v.all(cmd.Context(), s, &out)
	if err == nil && out.Deliveries == 0 {
		return &failure{exit: exitNotFound, what: "no dead delivery that is kept fits", fix: "plugfn event list --dead"}
	}
	if err = errors.Join(out.print(p), err); err == nil && out.Unreadable > 0 {
		err = &failure{exit: exitFailure, what: fmt.Sprintf("%d of %d deliveries make no event", out.Unreadable, out.Deliveries)}
	}
	return err
}

func (v *revival) all(ctx context.Context, s *eventStore, out *revived) error {
	next := time.NewTicker(v.replay.pause)
	defer next.Stop()
	return s.scan(ctx, s.state.FirstSeq, s.last(), func(e *storedEvent) error {
		if out.Deliveries++; out.Deliveries > 1 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-next.C:
			}
		}
		l := revivedLetter{Sequence: e.sequence, ID: e.ID, Provider: e.Provider}
		one, err := v.one(ctx, s, e.sequence)
		out.Published, out.Known, l.Events = out.Published+one.Published, out.Known+one.Known, one.Events
		if err != nil && !isLasting(err) {
			return fmt.Errorf("dead letter %d: %w", e.sequence, err)
		}
		if err != nil {
			out.Unreadable++
			l.Error = err.Error()
		}
		if len(out.All) < maxResults {
			out.All = append(out.All, l)
		}
		return nil
	})
}

// isLasting tells what is wrong with one delivery from what is wrong with all.
func isLasting(err error) bool {
	var own *blockError
	return errors.Is(err, providers.ErrUnparsable) || errors.Is(err, providers.ErrContentType) || errors.Is(err, events.ErrPayloadGone) ||
		errors.Is(err, ingress.ErrNotReplayable) || errors.As(err, &own)
}

// blockError says that the webhooks block of a delivery is not to be had.
type blockError struct{ error }

func (v *revival) one(ctx context.Context, s *eventStore, sequence uint64) (ingress.Revived, error) {
	msg, err := s.stream.GetMsg(ctx, sequence)
	if err != nil {
		return ingress.Revived{}, err
	}
	dead, err := ingress.ParseDeadDelivery(msg.Header, msg.Data, msg.Time)
	if err != nil {
		return ingress.Revived{}, err
	}
	block, err := v.block(ctx, dead)
	if err != nil {
		return ingress.Revived{}, &blockError{err}
	}
	return v.router.Revive(ctx, block, dead, v.replay.dry)
}

// block is the webhooks block of the endpoint that a delivery came to, as it is
// today. What an endpoint adds to its pack the API has to be asked for.
func (v *revival) block(ctx context.Context, dead *ingress.DeadDelivery) (*providers.Webhooks, error) {
	pack, err := packNamed(v.packs, dead.Provider())
	if err != nil {
		return nil, err
	}
	if pack.Webhooks == nil {
		return nil, errors.New("the pack of " + pack.Name + " has no webhooks any more")
	}
	id := dead.Endpoint()
	if id == "" || !pack.Webhooks.Parametrised {
		return pack.Webhooks, nil
	}
	if block, ok := v.blocks[id]; ok {
		return block, nil
	}
	api, err := v.target.api()
	if err != nil {
		return nil, err
	}
	e, err := api.endpoint(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("asking for endpoint %s: %w", id, err)
	}
	v.blocks[id], err = reading(pack.Webhooks, e.Webhooks)
	return v.blocks[id], err
}

// reading is the part of an endpoint's block by which deliveries are read. Those
// that are dead were verified when they came.
func reading(block *providers.Webhooks, added map[string]any) (*providers.Webhooks, error) {
	added = maps.Clone(added)
	for _, key := range []string{"verify", "handshake", "secrets"} {
		delete(added, key)
	}
	if len(added) == 0 {
		return block, nil
	}
	fragment, err := json.Marshal(added)
	if err != nil {
		return nil, err
	}
	return block.With(fragment, providers.App{AllowUnsigned: true})
}

func (out *revived) print(p *printer) error {
	result := done(fmt.Sprintf("%d published", out.Published))
	if out.DryRun {
		result = waiting(fmt.Sprintf("%d would be published", out.Published))
	}
	fields := []field{
		{"result", result},
		{"deliveries", fmt.Sprint(out.Deliveries)},
		{"known", fmt.Sprint(out.Known)},
		{"unreadable", fmt.Sprint(out.Unreadable)},
	}
	const told = 10
	for _, l := range out.All[:min(told, len(out.All))] {
		what := l.Error
		if what == "" {
			what = fmt.Sprint(len(l.Events), " events, ", firstOf(append(l.Events, "")...))
		}
		fields = append(fields, field{"delivery", fmt.Sprintf("%d  %s  %s", l.Sequence, safe(l.Provider), clip(what, 120))})
	}
	return p.object(out, fmt.Sprint(out.Published), fields)
}
