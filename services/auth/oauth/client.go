package oauth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	defaultTimeout = 20 * time.Second
	maxAnswer      = 1 << 20 // bytes
)

// Config holds what a Client needs. The zero value is good.
type Config struct {
	// HTTP sends the requests; nil: a client of its own that calls any address.
	// Its redirects are never followed.
	HTTP    *http.Client
	Now     func() time.Time // nil: time.Now
	Timeout time.Duration    // of one request with its answer; 0: 20 s
}

// Client asks authorization servers. It is safe for concurrent use.
type Client struct {
	http    http.Client
	now     func() time.Time
	timeout time.Duration
}

// New makes a Client.
func New(cfg Config) *Client {
	c := &Client{now: cfg.Now, timeout: cmp.Or(cfg.Timeout, defaultTimeout)}
	if cfg.HTTP != nil {
		c.http = *cfg.HTTP
	} else {
		// An idle connection that the server closes just now leaves it open
		// whether a refresh token was spent. Token requests are rare.
		c.http = *outbound.New(outbound.Config{AnyAddress: true, NoReuse: true})
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

// send performs a request and reads its answer.
func (c *Client) send(ctx context.Context, op string, req *http.Request) (answer, *Failure) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	resp, err := c.http.Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		return answer{}, lost(op, err, 0, sent.Load())
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil && !isSuccess(resp.StatusCode) {
		return answer{}, lost(op, err, resp.StatusCode, true)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, raw: raw, cut: err != nil}
	if len(raw) > maxAnswer {
		a.raw, a.cut = raw[:maxAnswer], true
	}
	if !a.cut {
		a.body = decode(a.raw)
	}
	return a, nil
}

// lost is the failure of a request without an answer. The error's own text may
// quote the URL or the answer, so that it stays out.
func lost(op string, err error, status int, sent bool) *Failure {
	f := &Failure{Op: op, Class: Transient, Status: status, Sent: sent, reason: "the provider cannot be reached"}
	var timeout net.Error
	var refused *events.Error
	switch {
	case errors.As(err, &refused): // not called at all
		f.reason = refused.Message
	case errors.Is(err, context.Canceled):
		f.err, f.reason = context.Canceled, "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.err, f.reason = context.DeadlineExceeded, "the provider takes too long"
	case sent:
		f.reason = "the connection to the provider broke"
	}
	return f
}

func isSuccess(status int) bool { return status >= 200 && status < 300 }

// body is an answer's body, to be read once more.
func body(raw []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(raw)) }
