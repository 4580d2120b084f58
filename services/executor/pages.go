package executor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// reading is what a read came to.
type reading struct {
	status int // of the last answer; 0: there was none
	data   json.RawMessage
	pages  int             // 0: it is no list
	more   bool            // there are further pages
	next   json.RawMessage // the parameters to change for the page after these; nil: nobody can say
	cached bool            // it was kept, though the provider may have been asked whether it still holds

	requestID string // of the last answer
	etag      string // of a single answer
	unchanged bool   // the provider says that what the caller has still holds; there is no data
}

// note puts what is known beside the data into a result.
func (r *reading) note(result *events.Result) {
	result.Cached, result.Pages, result.More, result.Next = r.cached, r.pages, r.more, r.next
}

// walk goes through the pages of a list.
type walk struct {
	*attempt
	reading
	base  string
	most  int               // pages
	size  int               // of the pages in hand, in bytes
	taken []json.RawMessage // their data
}

// ask reads from the provider: one page, or several joined as far as they fit
// into a result. etag names what the caller has; "": nothing.
func (a *attempt) ask(ctx context.Context, etag string) (reading, error) {
	w := &walk{attempt: a, base: a.Providers.BaseURL(a.task.Provider), most: min(max(a.task.MaxPages, 1), a.plan.action.Pages())}
	req, err := a.plan.asked.NewRequest(ctx, w.base, a.credential)
	if err != nil {
		if w.slot != nil {
			w.slot.cancel(ctx)
		}
		return reading{}, asError(err, events.CodeInternal)
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	if err := w.await(ctx); err != nil {
		return reading{}, err
	}
	next, err := w.page(ctx, req, a.task.Params)
	for err == nil && next != nil && len(w.taken) < w.most && w.size <= maxInline {
		next, err = w.follow(ctx, next)
	}
	if err == nil && !w.unchanged {
		w.join()
	}
	return w.reading, err
}

// follow reads a page after the first, when its turn has come.
func (w *walk) follow(ctx context.Context, next *providers.Next) (*providers.Next, error) {
	if err := w.await(ctx); err != nil {
		var waits *pause
		if errors.As(err, &waits) && w.next != nil && !w.task.StreamPages {
			w.dropPermit(ctx, w.entry)
			return nil, nil //nolint:nilnil // it is left to another request
		}
		return nil, err
	}
	req, err := w.plan.action.NewNextRequest(ctx, w.base, next, w.credential)
	if err != nil {
		w.slot.cancel(ctx)
		return nil, asError(err, events.CodeInternal)
	}
	return w.page(ctx, req, next.With())
}

// await gets the slot of the next page, if there is none yet.
func (w *walk) await(ctx context.Context) error {
	if w.slot != nil {
		return nil
	}
	s, err := w.worker.slot(ctx, asker{w.task, w.entry, w.plan.action, w.credential})
	if err != nil {
		return slotError{err}
	}
	w.slot = s
	return nil
}

// page reads one page, and takes it in if there is room for it. It returns what
// leads on.
func (w *walk) page(ctx context.Context, req *http.Request, params json.RawMessage) (*providers.Next, error) {
	s := w.slot
	w.slot = nil
	resp, err := w.do(w.task.Provider, req)
	if err != nil {
		w.unanswered(ctx, s)
		return nil, err
	}
	defer resp.Body.Close()
	w.status, w.requestID = resp.StatusCode, w.plan.action.RequestID(resp.Header)
	if w.status == http.StatusNotModified && req.Header.Get("If-None-Match") != "" {
		w.unchanged = true
		if w.plan.pack.HTTP.ETags {
			s.free(ctx)
		} else {
			s.done(ctx, resp, nil, nil)
		}
		return nil, nil //nolint:nilnil // nothing leads on
	}
	heard := s.listen(resp)
	page, err := w.plan.action.ReadPage(resp, params)
	s.done(ctx, resp, heard(), err)
	if err != nil {
		return nil, err
	}
	if w.task.StreamPages {
		if err := w.send(ctx, page.Data); err != nil {
			return nil, err
		}
		page.Data = nil
	}
	w.size += len(page.Data)
	if len(w.taken) > 0 && w.size > maxInline {
		return nil, nil //nolint:nilnil // it is left to another request; what leads to it stands in the reading
	}
	w.etag = resp.Header.Get("ETag")
	w.taken = append(w.taken, page.Data)
	w.more, w.next = page.Next != nil, nil
	if page.Next != nil {
		w.next = page.Next.Params
	}
	return page.Next, nil
}

// send gives a page to whoever waits for it.
func (w *walk) send(ctx context.Context, data json.RawMessage) error {
	page := len(w.taken) + 1
	if len(data) <= maxInline {
		return w.Conn.PublishMsg(events.PageMsg(w.task.Reply, w.task.ID, page, data))
	}
	ref, err := w.stow(ctx, w.task, data)
	if err != nil {
		w.Log.Warn().Err(err).Str("request", w.task.ID).Int("bytes", len(data)).Msg("page not stored")
		return events.Errorf(events.CodeInternal, "page %d has %d bytes, and the bus did not store them", page, len(data))
	}
	return w.Conn.PublishMsg(events.PageRefMsg(w.task.Reply, w.task.ID, page, ref))
}

// join makes one answer of the pages in hand. One whose pages were sent by
// themselves has no data.
func (w *walk) join() {
	if w.most > 1 {
		w.etag = "" // it stands for the last page only
	}
	paginate := w.plan.action.Paginate
	if paginate == nil {
		w.data = w.taken[0]
		return
	}
	w.pages = len(w.taken)
	if !w.task.StreamPages {
		w.data = paginate.Join(w.taken)
	}
}

// checkPages refuses a wish for pages where there are none.
func checkPages(t *task, action *providers.Action) *events.Error {
	if action.Paginate != nil || t.MaxPages <= 1 && !t.StreamPages {
		return nil
	}
	name := events.HeaderMaxPages
	if t.StreamPages {
		name = events.HeaderStream
	}
	return events.Errorf(events.CodeInvalidParams, "header %s: %s has no pages; leave it out", name, action.Name)
}

// do sends one request, to where the provider's requests may go.
func (w *worker) do(provider string, req *http.Request) (*http.Response, error) {
	if !w.Providers.MayCall(provider, req.URL) {
		return nil, events.Errorf(events.CodeProviderRejected, "the request leads to a host that is none of %s; its pack may list it in http.allow_hosts", provider)
	}
	return w.HTTP.Do(req)
}
