package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const pathEndpoints = "/v1/webhooks"

// newEndpoint asks for a webhook endpoint.
type newEndpoint struct {
	Provider     string         `json:"provider"`
	UserID       string         `json:"user_id"`
	ConnectionID string         `json:"connection_id,omitempty"`
	Name         string         `json:"name,omitempty"`
	Secret       string         `json:"secret,omitempty"`
	SecretLater  bool           `json:"secret_later,omitempty"`
	URL          string         `json:"url,omitempty"`
	Webhooks     map[string]any `json:"webhooks,omitempty"`
}

// webhookEndpoint is a webhook endpoint as the API shows it.
type webhookEndpoint struct {
	ID             string           `json:"id"`
	Provider       string           `json:"provider"`
	UserID         string           `json:"user_id"`
	ConnectionID   string           `json:"connection_id,omitempty"`
	Name           string           `json:"name,omitempty"`
	State          string           `json:"state"`
	URL            string           `json:"url,omitempty"`
	Path           string           `json:"path"`
	Hint           string           `json:"hint,omitempty"`
	Webhooks       map[string]any   `json:"webhooks,omitempty"`
	Secrets        []endpointSecret `json:"secrets"`
	Secret         string           `json:"secret,omitempty"` // made just now
	LastDeliveryAt time.Time        `json:"last_delivery_at,omitzero"`
	CreatedAt      time.Time        `json:"created_at"`
	UpdatedAt      time.Time        `json:"updated_at"`
}

// endpointSecret is one of its secrets: not itself.
type endpointSecret struct {
	ID        string    `json:"id"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Learned   bool      `json:"learned,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

func (s *endpointSecret) text() string {
	good := webhookSecret{NotAfter: s.NotAfter}
	text := s.ID + "  " + good.good()
	if s.Learned {
		text += ", learned in a handshake"
	}
	return text
}

func pathOfEndpoint(id string) string { return pathEndpoints + "/" + url.PathEscape(id) }

func (a *apiClient) createEndpoint(ctx context.Context, in newEndpoint) (e webhookEndpoint, err error) {
	return e, a.do(ctx, http.MethodPost, pathEndpoints, in, &e)
}

func (a *apiClient) endpoint(ctx context.Context, id string) (e webhookEndpoint, err error) {
	return e, a.do(ctx, http.MethodGet, pathOfEndpoint(id), nil, &e)
}

func (a *apiClient) rotateEndpoint(ctx context.Context, id, secret string, overlap time.Duration) (e webhookEndpoint, err error) {
	in := struct {
		Secret  string `json:"secret,omitempty"`
		Overlap int    `json:"overlap_seconds"`
	}{secret, int(overlap.Seconds())}
	return e, a.do(ctx, http.MethodPost, pathOfEndpoint(id)+"/rotate", in, &e)
}

func (a *apiClient) endpointDo(ctx context.Context, id, what string) (e webhookEndpoint, err error) {
	return e, a.do(ctx, http.MethodPost, pathOfEndpoint(id)+"/"+what, nil, &e)
}

func (a *apiClient) deleteEndpoint(ctx context.Context, id string) error {
	return a.do(ctx, http.MethodDelete, pathOfEndpoint(id), nil, nil)
}

// endpoints returns up to limit endpoints, and whether there are more.
func (a *apiClient) endpoints(ctx context.Context, query url.Values, limit int) (all []webhookEndpoint, more bool, err error) {
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all), maxPage)))
		var page struct {
			Webhooks   []webhookEndpoint `json:"webhooks"`
			NextCursor string            `json:"next_cursor"`
		}
		if err := a.do(ctx, http.MethodGet, pathEndpoints+"?"+query.Encode(), nil, &page); err != nil {
			return nil, false, err
		}
		all = append(all, page.Webhooks...)
		if page.NextCursor == "" || len(all) >= limit {
			return all, page.NextCursor != "", nil
		}
		query.Set("cursor", page.NextCursor)
	}
}
