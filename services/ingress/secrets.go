package ingress

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Secrets knows webhook secrets beside those of the settings. It is asked for
// each delivery and answers from memory.
type Secrets interface {
	// WebhookSecrets returns the secrets of a provider that are good now. It
	// reports false while there may be others.
	WebhookSecrets(provider string) ([]providers.Secret, bool)
	// Loaded is closed once it is known which providers have any.
	Loaded() <-chan struct{}
}

// secretsOf returns what deliveries of a provider may be signed with, and
// whether that is all.
func (s *Service) secretsOf(provider string) ([]providers.Secret, bool) {
	secrets := s.apps[provider].secrets
	if s.Secrets == nil {
		return secrets, true
	}
	stored, all := s.Secrets.WebhookSecrets(provider)
	return append(secrets, stored...), all
}

// check is what is known of the endpoint, and whether there may be other secrets.
func (s *Service) check(rt *route) (providers.Check, bool) {
	secrets, all := s.secrets(rt)
	c := providers.Check{
		Secrets: secrets, Keys: s.Keys, Caller: s.Caller, URL: rt.endpoint.URL,
		AllowNone: (rt.isApp || rt.found) && s.apps[rt.pack.Name].allowUnsigned,
		Pending:   rt.found && rt.endpoint.State == endpoint.Pending,
	}
	if rt.isApp {
		c.URL = s.apps[rt.pack.Name].url
	}
	return c, all
}

// appSettings is what the operator has set for a provider's app. That does not
// change, and is asked for every delivery.
type appSettings struct {
	secrets       []providers.Secret
	allowUnsigned bool
	url           string // of its endpoint; "": it is not known where providers reach this service
}

func (c *Config) appSettings() map[string]appSettings {
	all := map[string]appSettings{}
	for _, name := range c.Providers.Names() {
		app := c.Providers.App(name)
		set := appSettings{secrets: slices.Clip(app.WebhookSecrets), allowUnsigned: app.AllowUnsigned}
		if c.PublicURL != "" {
			set.url = strings.TrimRight(c.PublicURL, "/") + "/webhooks/" + name
		}
		all[name] = set
	}
	return all
}

// verify returns the refusal of a delivery that is not genuine. One that may be,
// once all secrets or keys are known, is to be sent again. At an endpoint that
// there is not, nothing is.
func (s *Service) verify(ctx context.Context, rt *route, d *providers.Delivery, c providers.Check, all bool) (providers.Verdict, *answer) {
	verdict, err := rt.pack.Webhooks.Verify(ctx, d, c)
	if err == nil && !rt.isApp && !rt.found {
		err = &providers.VerifyError{Reason: providers.ReasonMismatch}
	}
	if err == nil {
		return verdict, nil
	}
	reason := "unverified"
	var unverified *providers.VerifyError
	if errors.As(err, &unverified) {
		reason = unverified.Reason
	}
	status := http.StatusUnauthorized
	switch {
	case !all:
		status, reason = http.StatusServiceUnavailable, "secrets not known yet: "+reason
	case unverified != nil && unverified.Unsure():
		status = http.StatusServiceUnavailable
	}
	refusal := refuse(status, reason)
	return verdict, &refusal
}

// isLoaded reports whether it is known which providers have secrets.
func (s *Service) isLoaded() bool { return s.Secrets == nil || isClosed(s.Secrets.Loaded()) }

// warn names the providers whose deliveries are all refused, once that is
// known: as a warning those that the operator has set up otherwise. Nobody uses
// all packs, and the rest is no news.
func (s *Service) warn(ctx context.Context) {
	if s.Secrets != nil {
		select {
		case <-s.Secrets.Loaded():
		case <-ctx.Done():
			return
		}
	}
	var begun, rest []string
	for _, name := range s.Unsecured() {
		if app := s.Providers.App(name); app.ClientID != "" || app.BaseURL != "" || !app.PrivateKey.IsZero() {
			begun = append(begun, name)
		} else {
			rest = append(rest, name)
		}
	}
	const message = "no webhook secret: all deliveries are refused"
	if len(begun) > 0 {
		s.Log.Warn().Strs("providers", begun).Msg(message)
	}
	if len(rest) > 0 {
		s.Log.Debug().Strs("providers", rest).Msg(message)
	}
}
