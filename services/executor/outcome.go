package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// maxInline is how many bytes of data a result carries. Longer data is stored
// beside it.
const maxInline = events.MaxInline

// storing is how long the bus is asked to store data: a provider may not give
// it a second time.
const storing = 30 * time.Second

// succeed concludes a request that was carried out.
func (w *worker) succeed(ctx context.Context, t *task, p plan, e *entry, f *finding) error {
	r := t.succeeded(w.Now(), e)
	f.reading.note(r)
	if err := w.load(ctx, t, r, f.data); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("stopping: %w", ctx.Err())
		}
		w.Log.Warn().Err(err).Str("request", t.ID).Str("user", t.UserID).Int("bytes", len(f.data)).Msg("data of a result not stored")
		if p.action.Effect == providers.EffectRead {
			e.Last = events.Errorf(events.CodeInternal, "the answer has %d bytes, and the bus did not store them", len(f.data))
			return w.giveUp(ctx, t, e, verdict{do: doFail})
		}
		// It was carried out, which is worth more than what was said of it.
	}
	return w.conclude(ctx, t, r)
}

// load gives r its data, as a reference where it is too long for a message.
func (w *worker) load(ctx context.Context, t *task, r *events.Result, data json.RawMessage) error {
	if len(data) <= maxInline {
		r.Data = data
		return nil
	}
	ref, err := w.stow(ctx, t, data)
	if err != nil {
		return err
	}
	r.DataRef = &ref
	return nil
}

// stow stores data of the user beside the messages. It is patient: the provider
// has answered.
func (w *worker) stow(ctx context.Context, t *task, data []byte) (events.PayloadRef, error) {
	ctx, cancel := context.WithTimeout(ctx, w.storing)
	defer cancel()
	payloads := events.Payloads{Conn: w.Conn}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ref, err := payloads.Put(ctx, t.UserID, data)
		if err == nil {
			return ref, nil
		}
		if rest(ctx, pause) != nil {
			return ref, err
		}
	}
}
