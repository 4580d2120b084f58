package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	callTimeout    = 2 * time.Second
	maxCallAnswer  = 64 << 10
	maxCallsAtOnce = 16
)

// Caller asks providers whether deliveries are theirs. It is safe for concurrent
// use.
type Caller struct {
	registry *providers.Registry
	http     *http.Client
	places   chan struct{} // one for each call at once
}

// NewCaller returns a caller for the providers of the registry. The client
// should reach public addresses only.
func NewCaller(registry *providers.Registry, client *http.Client) *Caller {
	once := *client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Caller{registry: registry, http: &once, places: make(chan struct{}, maxCallsAtOnce)}
}

// Confirm gets the address that a provider wants to be called.
func (c *Caller) Confirm(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("confirming an endpoint: not an address") // err would show it, and it is a secret
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return errors.New("confirming an endpoint: the provider cannot be reached")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("confirming an endpoint: answered %d", answer.StatusCode)
	}
	return nil
}

// Call sends c to the provider and returns its answer.
func (c *Caller) Call(ctx context.Context, call providers.Call) (providers.CallAnswer, error) {
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	default:
		return providers.CallAnswer{}, errors.New("asking the provider: too many calls at once")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, call.Method, c.registry.BaseURL(call.Provider)+call.Path, bytes.NewReader(call.Body))
	if err != nil {
		return providers.CallAnswer{}, fmt.Errorf("asking the provider: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	if call.Auth == "basic" {
		app := c.registry.App(call.Provider)
		r.SetBasicAuth(app.ClientID, string(app.ClientSecret.Reveal()))
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return providers.CallAnswer{}, fmt.Errorf("asking the provider: %w", err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxCallAnswer+1))
	if err != nil || len(raw) > maxCallAnswer {
		return providers.CallAnswer{}, fmt.Errorf("asking the provider: its answer is too long or broke off: %w", err)
	}
	return providers.CallAnswer{Status: answer.StatusCode, Body: raw}, nil
}
