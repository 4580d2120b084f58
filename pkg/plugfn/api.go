package plugfn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/plugfn/plugfn/pkg/events"
)

const maxAnswer = 16 << 20 // bytes of an answer of the API that are read

// problem is how the API, and services on the bus, say what is wrong (RFC 9457);
// some say it as results do.
type problem struct {
	events.Error
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *problem) asError(status int) *Error {
	e := asError(&p.Error)
	if e.Message == "" {
		e.Message = p.Detail
	}
	if e.Message == "" {
		e.Message = p.Title
	}
	if e.Status == 0 {
		e.Status = status
	}
	e.Retryable = e.Retryable || e.Code != "" && e.Code.Meaning().Retryable
	switch {
	case e.Status == http.StatusUnauthorized && e.Code == "":
		e.cause = ErrUnauthorized
	case e.Status == http.StatusNotFound && e.Code == "":
		e.cause = ErrNotFound
	}
	return e
}

// call makes one request to the API. in and out are JSON, nil for none.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	r, err := c.request(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if answer.StatusCode >= http.StatusBadRequest {
		var p problem
		if json.Unmarshal(text, &p) != nil || p.Title == "" {
			p = problem{Title: fmt.Sprintf("the API answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))}
		}
		p.Status = 0 // the one of the answer counts
		return p.asError(answer.StatusCode)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("plugfn: the answer at %s%s is not of the API: %w", c.api, path, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	if c.api == "" {
		return nil, ErrNoAPI
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("plugfn: encoding the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	target := c.api + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("plugfn: making the request: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// unreachable is the error of a request without an answer. It does not repeat
// the URL, whose query may name users.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("plugfn: %w", context.Cause(ctx))
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("plugfn: the API at %s: %w", c.api, errors.Join(ErrUnavailable, err))
}

// set adds to a query what has a value.
func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}
