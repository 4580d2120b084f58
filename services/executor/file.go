package executor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// attach puts the file of a request into the provider's, piece by piece as it is
// sent. Before that it is read once, so that what is not whole is not sent.
func (a *attempt) attach(ctx context.Context, req *http.Request) error {
	file, ok := a.plan.action.File(a.task.Params)
	if !ok {
		return nil
	}
	name, limit := a.plan.action.FileParam(), a.plan.action.FileLimit()
	// This service may read the files of all users.
	if !file.BelongsTo(a.task.UserID) {
		return events.Errorf(events.CodeInvalidParams, "/%s/subject: is no file of the user", name)
	}
	payloads := events.Payloads{Conn: a.Conn}
	if err := payloads.Verify(ctx, file.PayloadRef, limit); err != nil {
		if ctx.Err() != nil {
			return events.Errorf(events.CodeProviderUnavailable, "the file was not read in time; nothing was sent")
		}
		return events.Errorf(events.CodeInvalidParams, "/%s: %v", name, err)
	}
	return a.plan.action.Attach(req, a.task.Params, file, func() (io.Reader, error) { return payloads.Open(ctx, file.PayloadRef, limit) })
}

// download carries out a read whose answer is a file: it is stored as it comes.
func (a *attempt) download(ctx context.Context) (reading, error) {
	w := &walk{attempt: a, base: a.Providers.BaseURL(a.task.Provider)}
	if err := w.await(ctx); err != nil {
		return reading{}, err
	}
	s := w.slot
	w.slot = nil
	req, err := a.plan.asked.NewRequest(ctx, w.base, a.credential)
	if err != nil {
		s.cancel(ctx)
		return reading{}, asError(err, events.CodeInternal)
	}
	req.Header.Set("Accept", "*/*")
	resp, err := a.do(a.task.Provider, req)
	if err != nil {
		a.unanswered(ctx, s)
		return reading{}, err
	}
	defer resp.Body.Close()
	w.status, w.requestID = resp.StatusCode, a.plan.action.RequestID(resp.Header)
	heard := s.listen(resp)
	w.data, err = a.take(ctx, resp)
	s.done(ctx, resp, heard(), err)
	return w.reading, err
}

// take stores the file of a response, or of where that leads.
func (a *attempt) take(ctx context.Context, resp *http.Response) (json.RawMessage, error) {
	if isRedirect(resp.StatusCode) {
		elsewhere, err := a.elsewhere(ctx, resp)
		if err != nil {
			return nil, err
		}
		defer elsewhere.Body.Close()
		if resp = elsewhere; resp.StatusCode >= http.StatusMultipleChoices {
			return nil, noFileThere(resp.StatusCode)
		}
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		_, err := a.plan.action.Read(resp)
		return nil, cmp.Or(err, error(events.Errorf(events.CodeProviderRejected, "the answer %d is no file", resp.StatusCode)))
	}
	file, limit := providers.FileOf(resp), a.plan.action.FileLimit()
	if resp.ContentLength > limit {
		return nil, tooLongFile(limit)
	}
	var err error
	file.PayloadRef, err = events.Payloads{Conn: a.Conn}.Copy(ctx, a.task.UserID, resp.Body, limit)
	var unstored *events.StoreError
	switch {
	case errors.Is(err, events.ErrPayloadTooLong):
		return nil, tooLongFile(limit)
	case errors.As(err, &unstored):
		a.Log.Warn().Err(err).Str("request", a.task.ID).Msg("file not stored")
		return nil, events.Errorf(events.CodeInternal, "the bus did not store the file")
	case err != nil:
		return nil, err
	}
	return json.Marshal(file)
}

// noFileThere is what comes of a download that leads to nothing. What its status
// says is not about the credential, which was not shown there.
func noFileThere(status int) error {
	code := events.CodeProviderRejected
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		code = events.CodeProviderUnavailable
	}
	e := events.Errorf(code, "where the file should be, the answer is %d", status)
	e.Status = status
	return e
}

func tooLongFile(limit int64) error {
	return events.Errorf(events.CodeProviderRejected, "the file is longer than %d bytes, which is what the pack allows (max_file)", limit)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

// elsewhere follows one redirect of a download to another host that the pack
// lists. The credential does not go along: what leads there is in the URL.
func (a *attempt) elsewhere(ctx context.Context, resp *http.Response) (*http.Response, error) {
	to, err := resp.Location()
	if err != nil || to.User != nil || !a.isSafe(to) || !a.Providers.MayCall(a.task.Provider, to) {
		return nil, events.Errorf(events.CodeProviderRejected, "the file is at a host that is none of %s; its pack may list it in http.allow_hosts", a.task.Provider)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, errors.New("building the request: the URL is unusable")
	}
	req.Header.Set("User-Agent", "plugfn")
	return a.HTTP.Do(req)
}

// isSafe reports whether a URL is encrypted, or the provider's own is not.
func (a *attempt) isSafe(u *url.URL) bool {
	base, err := url.Parse(a.Providers.BaseURL(a.task.Provider))
	return u.Scheme == "https" || err == nil && base.Scheme == "http" && u.Scheme == "http"
}
