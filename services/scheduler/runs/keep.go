package runs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const (
	// keepAgain is after how long values are stored again that would go three days
	// later.
	keepAgain = 5 * 24 * time.Hour

	// keepID is the id of the timer by which that happens. No step has such a one.
	keepID = "~keep"
)

// value reads a value that a run has by reference.
func (s *Service) value(ctx context.Context, r *record, ref string) ([]byte, error) {
	at := events.PayloadRef{Subject: events.PrefixPayload + events.Token(r.State.User) + "." + ref, SHA256: ref, Size: r.Kept[ref]}
	data, err := s.payloads.Get(ctx, at, machine.MaxValue+1<<20)
	if err != nil {
		return nil, fmt.Errorf("a value of run %s: %w", r.State.Run, err)
	}
	return data, nil
}

// keep does the Keep effects, and returns what is kept with them.
func (s *Service) keep(ctx context.Context, r *record, effects []machine.Effect) (map[string]int64, error) {
	kept := r.Kept
	for _, e := range effects {
		k, ok := e.(machine.Keep)
		if !ok {
			continue
		}
		if _, err := s.payloads.Put(ctx, r.State.User, k.Data); err != nil {
			return nil, fmt.Errorf("keeping a value of run %s: %w", r.State.Run, err)
		}
		kept = maps.Clone(kept)
		if kept == nil {
			kept = map[string]int64{}
		}
		kept[k.Ref] = int64(len(k.Data))
	}
	if len(r.Kept) == 0 && len(kept) > 0 {
		if err := s.keepLonger(ctx, r); err != nil {
			return nil, err
		}
	}
	return kept, s.reach(stepKept, r.State.Run)
}

// keepLonger sees to it that the values of a run are stored again before they go.
func (s *Service) keepLonger(ctx context.Context, r *record) error {
	m := signalMessage{
		User: r.State.User, Workflow: r.State.Workflow, Run: r.State.Run, Signal: &machine.Signal{Kind: machine.Timer, ID: keepID},
	}
	body, err := m.encode()
	if err == nil {
		err = s.Parking.Park(ctx, bus.Later{
			Kind: bus.KindRun, User: r.State.User, ID: requestID(r.State.Run, keepID), At: s.Now().Add(s.keepAgain), Target: m.subject(), Data: body,
		})
	}
	if err != nil {
		return fmt.Errorf("keeping the values of run %s: %w", r.State.Run, err)
	}
	return nil
}

// keepOn stores the values of a run again, unless it has ended. One that is gone
// is found out by the step that needs it.
func (s *Service) keepOn(ctx context.Context, key string) error {
	h, err := s.store.get(ctx, key, true)
	if errors.Is(err, errNone) {
		return nil
	}
	if err != nil || h.State.Status.Ended() {
		return err
	}
	for ref := range h.Kept {
		data, err := s.value(ctx, h.record, ref)
		if errors.Is(err, events.ErrPayloadGone) {
			continue
		}
		if err == nil {
			_, err = s.payloads.Put(ctx, h.State.User, data)
		}
		if err != nil {
			return fmt.Errorf("keeping a value of run %s: %w", h.State.Run, err)
		}
	}
	return s.keepLonger(ctx, h.record)
}
