package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

const userAgent = "plugfn"

// NewRequest makes the HTTP request that asks for the action, with base as the
// provider's base URL ([Registry.BaseURL]), where a field of cred may name the
// account's own host. Whatever params hold, it goes to the host of base and to a
// path of the template's shape.
//
// Parameters that cannot be sent give an *events.Error with code
// invalid_params, a credential that cannot be applied one with needs_reauth.
// Any other error is a mistake in base.
//
// An action that takes a file gets it with [Action.Attach].
//
// The request has no idempotency header, so net/http sends a write again only
// where it can prove that nothing was sent before.
func (a *Action) NewRequest(ctx context.Context, base string, params json.RawMessage, cred Credential) (*http.Request, error) {
	object, err := parseParams(params)
	if err != nil {
		return nil, err
	}
	return a.newRequest(ctx, base, object, cred)
}

func (a *Action) newRequest(ctx context.Context, base string, object map[string]any, cred Credential) (*http.Request, error) {
	if err := a.checkPlaced(object); err != nil {
		return nil, err
	}
	base, err := baseFor(base, cred)
	if err != nil {
		return nil, err
	}
	u, err := a.url(base, object)
	if err != nil {
		return nil, err
	}
	header, err := a.header(object)
	if err != nil {
		return nil, err
	}
	body, err := a.body(object, header)
	if err != nil {
		return nil, err
	}
	if err := a.apply(cred, u, header); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, a.Request.Method, "", body) // what u is need not be parsed again
	if err != nil {
		return nil, errors.New("building the request: its method is unusable")
	}
	req.URL, req.Host, req.Header = u, u.Host, header
	return req, nil
}

// checkPlaced refuses what cannot be written as the text of a path, a query or
// a header. The schema of a loaded pack does too.
func (a *Action) checkPlaced(params map[string]any) error {
	for _, name := range a.Request.placed() {
		switch params[name].(type) {
		case map[string]any, []any:
			return invalid("/" + name + ": must be a single value")
		}
	}
	return nil
}

// url makes the URL without the credential.
func (a *Action) url(base string, params map[string]any) (*url.URL, error) {
	u, err := parseBase(strings.TrimRight(base, "/"))
	if err != nil {
		return nil, fmt.Errorf("base URL: %w", err)
	}
	tail, err := a.Request.escapedPath(params)
	if err != nil {
		return nil, err
	}
	whole := *u
	whole.RawPath = u.EscapedPath() + tail
	if whole.Path, err = url.PathUnescape(whole.RawPath); err != nil {
		return nil, fmt.Errorf("base URL: %w", err)
	}
	whole.RawQuery = a.query(params).Encode()
	return &whole, a.assertURL(u, &whole)
}

// assertURL is the last look at the URL: parameters changed neither the host
// nor the number of segments of the path.
func (a *Action) assertURL(base, whole *url.URL) error {
	segments := strings.Count(base.EscapedPath(), "/") + strings.Count(a.Request.Path.text, "/")
	if whole.Scheme != base.Scheme || whole.Host != base.Host || whole.User != nil || whole.Fragment != "" ||
		strings.Count(whole.EscapedPath(), "/") != segments {
		return invalid("the parameters of the path lead elsewhere")
	}
	return nil
}

func (a *Action) query(params map[string]any) url.Values {
	query := url.Values{}
	for name, template := range a.Request.Query {
		if text, ok := template.expand(scalarsOf(params)); ok {
			query.Set(name, text)
		}
	}
	return query
}

func (a *Action) header(params map[string]any) (http.Header, error) {
	header := http.Header{"User-Agent": {userAgent}, "Accept": {"application/json"}}
	for name, value := range a.pack.HTTP.Headers {
		header.Set(name, value)
	}
	for name, template := range a.Request.Headers {
		text, ok := template.expand(scalarsOf(params))
		if !ok {
			continue
		}
		if !isFieldValue(text) {
			return nil, invalid(template.where() + ": holds a control character, which a header cannot carry")
		}
		header.Set(name, text)
	}
	return header, nil
}

// body makes the body, nil for none, and sets its type.
func (a *Action) body(params map[string]any, header http.Header) (io.Reader, error) {
	if a.Request.Body == nil || a.Request.Body.File != "" { // see Attach
		return nil, nil //nolint:nilnil // no body is no error
	}
	rest := maps.Clone(params)
	a.leaveOut(rest)
	if a.Request.Body.Encoding == EncodingForm {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		form, err := formOf(rest)
		return strings.NewReader(form.Encode()), err
	}
	header.Set("Content-Type", "application/json; charset=utf-8") // Slack warns without the charset
	raw, err := encodeJSON(rest)
	if err != nil {
		return nil, fmt.Errorf("encoding the body: %w", err)
	}
	return bytes.NewReader(raw), nil
}

// leaveOut takes from params what is not for the body.
func (a *Action) leaveOut(params map[string]any) {
	for _, name := range a.Request.placed() {
		delete(params, name)
	}
	for _, name := range a.Request.Body.Omit {
		delete(params, name)
	}
}

// apply adds the credential.
func (a *Action) apply(cred Credential, u *url.URL, header http.Header) error {
	auth, ok := a.pack.AuthByID(cred.Auth)
	if !ok {
		return events.Errorf(events.CodeNeedsReauth, "provider %s has no auth %q; connect the account again", a.pack.Name, clip(cred.Auth, 40))
	}
	return auth.apply(cred, u, header)
}

// placed lists the parameters that path, query and headers use, in order.
func (r *Request) placed() []string {
	if r.taken != nil {
		return r.taken
	}
	names := []string{}
	for _, t := range slices.Concat([]Template{r.Path}, slices.Collect(maps.Values(r.Query)), slices.Collect(maps.Values(r.Headers))) {
		for _, field := range t.fields() {
			names = append(names, strings.TrimPrefix(field, "params."))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
