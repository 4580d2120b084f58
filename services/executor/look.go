package executor

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	lookTimeout  = 30 * time.Second
	maxLookPages = 10 // of a list, in one look
	maxLookFail  = 20 // how often a look may fail before the write stays unknown
)

// look looks at the provider whether an attempt of t was carried out, and
// settles t by it: with what is there, with a further look, or, where it is
// proved that nothing is there, with the next attempt.
func (w *worker) look(ctx context.Context, t *task, p plan, c providers.Credential, e *entry) error {
	look, ok := p.action.Look(t.Params, keyOf(t), e.FirstSent)
	if !ok { // the pack has changed
		return w.giveUp(ctx, t, e, verdict{do: doUnknown})
	}
	s, err := w.slot(ctx, asker{t, e, look.Action(), c})
	if err != nil {
		return w.noSlot(ctx, t, e, err)
	}
	found, err := w.search(ctx, asker{t, e, look.Action(), c}, look, s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := w.at(pointLooked, t); err != nil {
		return err
	}
	log := w.Log.Info().Str("request", t.ID).Str("user", t.UserID).Str("provider", t.Provider).Str("action", t.Action).Int("look", e.Looks)
	if err != nil {
		log.Str("code", string(asError(err, events.CodeProviderUnavailable).Code)).Msg("look failed")
		return w.lookAgain(ctx, t, e, err)
	}
	log.Bool("found", found.Data != nil).Bool("complete", found.Complete).Msg("looked for what was sent")
	if found.Data != nil {
		return w.succeed(ctx, t, p, e, &finding{data: found.Data})
	}
	if pause, more := look.After(e.Looks + 1); more {
		e.Looks++
		return w.wait(ctx, t, e, waitLook, w.Now().Add(pause))
	}
	if !found.Complete {
		return w.giveUp(ctx, t, e, verdict{do: doUnknown})
	}
	// It is not there. That is as good as an attempt that was not sent.
	e.Doubt, e.Looks = false, 0
	f := finding{class: classNothing, failure: e.Last}
	f.failure.Code, f.failure.Retryable = events.CodeProviderUnavailable, true
	return w.follow(ctx, t, p, e, f)
}

// lookAgain puts a look off that failed for a reason that passes. Without a
// look nothing is known.
func (w *worker) lookAgain(ctx context.Context, t *task, e *entry, err error) error {
	failure := asError(err, events.CodeProviderUnavailable)
	c := classOf(failure, true, true)
	if e.Deferrals++; c == classRefused || e.Deferrals > maxLookFail {
		return w.giveUp(ctx, t, e, verdict{do: doUnknown, gaveUp: "looking whether it was carried out failed"})
	}
	pause := doubled(defaultBase, e.Deferrals)
	var advice *providers.Failure
	if errors.As(err, &advice) {
		pause = max(pause, advice.RetryAfter)
	}
	return w.wait(ctx, t, e, waitLook, w.Now().Add(pause))
}

// search goes through the list that a look consists of, until what was sent is
// found or the list ends, but through so many pages only. s is the slot of the
// first one. Where a further page has none soon, the list is not whole.
func (w *worker) search(ctx context.Context, on asker, look *providers.Look, s *slot) (providers.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	base := w.Providers.BaseURL(on.task.Provider)
	request, err := look.NewRequest(ctx, base, on.credential)
	for pages := 1; ; pages++ {
		if err != nil {
			s.cancel(ctx)
			return providers.Found{}, asError(err, events.CodeInvalidParams)
		}
		var found providers.Found
		if found, err = w.searchPage(on.task, look, request, s); err != nil || found.Next == nil || pages == maxLookPages {
			return found, err
		}
		if s, err = w.slot(ctx, on); err != nil {
			w.dropPermit(ctx, on.entry)
			var waits *pause
			if errors.As(err, &waits) {
				err = nil
			}
			return providers.Found{}, err
		}
		request, err = look.NewNextRequest(ctx, base, found.Next, on.credential)
	}
}

// searchPage makes one read of a search.
func (w *worker) searchPage(t *task, look *providers.Look, request *http.Request, s *slot) (providers.Found, error) {
	ctx := request.Context()
	response, err := w.do(t.Provider, request)
	if err != nil {
		s.done(ctx, nil, nil, nil)
		return providers.Found{}, asError(err, events.CodeProviderUnavailable)
	}
	defer response.Body.Close()
	heard := s.listen(response)
	found, err := look.Read(response)
	s.done(ctx, response, heard(), err)
	return found, err
}
