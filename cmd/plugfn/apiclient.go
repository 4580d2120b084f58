package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxAnswer     = 16 << 20         // bytes of an answer that are read
	answerTimeout = 30 * time.Second // for one request
)

// apiClient speaks to the HTTP API.
type apiClient struct {
	base string
	key  providers.Secret
	http *http.Client
}

func (t *target) api() (*apiClient, error) {
	key, err := t.apiKey()
	if err != nil {
		return nil, err
	}
	return &apiClient{base: t.httpURL(), key: key, http: &http.Client{Timeout: answerTimeout}}, nil
}

// connection is a connection as the API shows it.
type connection struct {
	events.Connection
	LastUsedAt time.Time
	Refresh    *refreshTrouble
	raw        json.RawMessage
}

// UnmarshalJSON keeps the whole object beside what is known of it.
func (c *connection) UnmarshalJSON(data []byte) error {
	c.raw = bytes.Clone(data)
	beside := struct {
		LastUsedAt *time.Time       `json:"last_used_at"`
		Refresh    **refreshTrouble `json:"refresh"`
	}{&c.LastUsedAt, &c.Refresh}
	return errors.Join(json.Unmarshal(data, &c.Connection), json.Unmarshal(data, &beside))
}

// MarshalJSON returns the object as it came.
func (c connection) MarshalJSON() ([]byte, error) { return c.raw, nil }

// newConnection asks for a connection.
type newConnection struct {
	UserID   string `json:"user_id"`
	Provider string `json:"provider"`
	Token    string `json:"token,omitempty"`
	Auth     string `json:"auth,omitempty"`
	Name     string `json:"name,omitempty"`
	Account  string `json:"account,omitempty"`

	Fields map[string]string `json:"fields,omitempty"`
}

func (a *apiClient) connect(ctx context.Context, in newConnection) (c connection, err error) {
	return c, a.do(ctx, http.MethodPost, "/v1/connections", in, &c)
}

func (a *apiClient) connection(ctx context.Context, id string) (c connection, err error) {
	return c, a.do(ctx, http.MethodGet, "/v1/connections/"+url.PathEscape(id), nil, &c)
}

// disconnected is how deleting a connection ended at its provider.
type disconnected struct {
	Attempted bool `json:"remote_revoke_attempted"`
	Succeeded bool `json:"remote_revoke_succeeded"`
}

func (a *apiClient) disconnect(ctx context.Context, id string) (gone disconnected, err error) {
	err = a.do(ctx, http.MethodDelete, "/v1/connections/"+url.PathEscape(id), nil, &gone)
	return gone, err
}

// maxPage is how many connections the API gives at once.
const maxPage = 200

// connections returns up to limit connections, and whether there are more.
func (a *apiClient) connections(ctx context.Context, query url.Values, limit int) (all []connection, more bool, err error) {
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all), maxPage)))
		var page struct {
			Connections []connection `json:"connections"`
			NextCursor  string       `json:"next_cursor"`
		}
		if err := a.do(ctx, http.MethodGet, "/v1/connections?"+query.Encode(), nil, &page); err != nil {
			return nil, false, err
		}
		all = append(all, page.Connections...)
		if page.NextCursor == "" || len(all) >= limit {
			return all, page.NextCursor != "", nil
		}
		query.Set("cursor", page.NextCursor)
	}
}

// do makes one request. in and out are JSON, nil for none.
func (a *apiClient) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+string(a.key.Reveal()))
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := a.http.Do(r)
	if err != nil {
		return unreachable(a.base, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return unreachable(a.base, err)
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return refusal(answer.StatusCode, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &failure{exit: exitFailure, what: "the answer of " + a.base + " cannot be read", cause: err, fix: "is this PlugFn's HTTP address? Set --http-url"}
	}
	return nil
}

// unreachable is the failure of a request without an answer.
func unreachable(base string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which what says
	}
	return &failure{exit: exitUnreachable, what: "PlugFn cannot be reached at " + base, cause: err, fix: startFix}
}

// refusal is the failure that an answer with an error status means.
func refusal(status int, body []byte) error {
	var p struct {
		Title, Detail string
		Code          events.Code
		RequestID     string `json:"request_id"`
		Errors        []struct {
			Location, Message string
			Line, Column      int
		}
	}
	f := &failure{exit: exitOfStatus(status), status: status}
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		f.what = fmt.Sprintf("answered %d %s", status, http.StatusText(status))
		f.fix = "is this PlugFn's HTTP address? Set --http-url"
		return f
	}
	for _, e := range p.Errors {
		if e.Line > 0 {
			f.places = append(f.places, place{Line: e.Line, Column: e.Column, Path: e.Location, Message: e.Message})
		}
	}
	f.what, f.code, f.requestID = safe(firstOf(p.Detail, p.Title)), p.Code, p.RequestID
	switch {
	case p.Code != "":
		f.exit, f.fix = exitOf(p.Code), fixOf(p.Code)
	case status == http.StatusUnauthorized:
		f.fix = "name the file that holds the key with --api-key-file, or set PLUGFN_API_KEY"
	}
	return f
}

// exitOfStatus is the exit code of an HTTP status.
func exitOfStatus(status int) exitCode {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitUnauthorized
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict:
		return exitConflict
	case http.StatusTooManyRequests:
		return exitRateLimited
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		return exitUnreachable
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return exitUsage
	default:
		return exitFailure
	}
}
