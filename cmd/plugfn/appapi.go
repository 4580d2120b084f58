package main

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// newApp is an OAuth client that the operator sets.
type newApp struct {
	UserID       string `json:"user_id,omitempty"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
	PrivateKey   string `json:"private_key,omitempty"`
}

// app is an OAuth client as the API shows it.
type app struct {
	Provider        string    `json:"provider"`
	UserID          string    `json:"user_id,omitempty"`
	ClientID        string    `json:"client_id"`
	HasClientSecret bool      `json:"has_client_secret"`
	HasPrivateKey   bool      `json:"has_private_key"`
	Source          string    `json:"source"`
	InUse           bool      `json:"in_use"`
	RedirectURI     string    `json:"redirect_uri,omitempty"`
	UpdatedAt       time.Time `json:"updated_at,omitzero"`

	WebhookSecrets []webhookSecret `json:"webhook_secrets,omitempty"`
}

// webhookSecret is a webhook secret as the API shows it: not itself.
type webhookSecret struct {
	ID        string    `json:"id"`
	Provider  string    `json:"provider"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	CreatedAt time.Time `json:"created_at"`
}

// good says when the secret is good.
func (s *webhookSecret) good() string {
	at := func(t time.Time) string { return t.Local().Format(time.RFC3339) }
	switch {
	case !s.NotBefore.IsZero() && !s.NotAfter.IsZero():
		return "from " + at(s.NotBefore) + " until " + at(s.NotAfter)
	case !s.NotBefore.IsZero():
		return "from " + at(s.NotBefore)
	case !s.NotAfter.IsZero():
		return "until " + at(s.NotAfter)
	default:
		return "always"
	}
}

func (a *apiClient) setApp(ctx context.Context, provider string, in newApp) (set app, err error) {
	err = a.do(ctx, http.MethodPut, "/v1/apps/"+url.PathEscape(provider), in, &set)
	return set, err
}

func (a *apiClient) apps(ctx context.Context, query url.Values) ([]app, error) {
	path := "/v1/apps"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var out struct {
		Apps []app `json:"apps"`
	}
	err := a.do(ctx, http.MethodGet, path, nil, &out)
	return out.Apps, err
}

func (a *apiClient) deleteApp(ctx context.Context, provider, clientID, user string, force bool) error {
	query := url.Values{"client_id": {clientID}}
	if user != "" {
		query.Set("user_id", user)
	}
	if force {
		query.Set("force", "true")
	}
	return a.do(ctx, http.MethodDelete, "/v1/apps/"+url.PathEscape(provider)+"?"+query.Encode(), nil, nil)
}

func (a *apiClient) addWebhookSecret(ctx context.Context, provider, secret string, retire time.Duration) (added webhookSecret, err error) {
	in := struct {
		Secret string `json:"secret"`
		Retire int    `json:"retire_others_after,omitempty"`
	}{secret, int(retire.Seconds())}
	err = a.do(ctx, http.MethodPost, "/v1/apps/"+url.PathEscape(provider)+"/webhook-secrets", in, &added)
	return added, err
}

func (a *apiClient) webhookSecrets(ctx context.Context, provider string) ([]webhookSecret, error) {
	var out struct {
		Secrets []webhookSecret `json:"webhook_secrets"`
	}
	err := a.do(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(provider)+"/webhook-secrets", nil, &out)
	return out.Secrets, err
}

func (a *apiClient) deleteWebhookSecret(ctx context.Context, provider, id string) error {
	return a.do(ctx, http.MethodDelete, "/v1/apps/"+url.PathEscape(provider)+"/webhook-secrets/"+url.PathEscape(id), nil, nil)
}
