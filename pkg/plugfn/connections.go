package plugfn

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const pathConnections = "/v1/connections"

// Connections are the authorised links between users and their accounts. They
// need the API, see [WithAPI].
type Connections struct{ c *Client }

// Connections returns the connections of all users.
func (c *Client) Connections() Connections { return Connections{c} }

// Connection is one user's authorised link to one provider account, without its
// credential.
type Connection struct {
	events.Connection
	LastUsedAt time.Time     `json:"last_used_at,omitzero"` // to the minute; where one connection is shown
	Error      *events.Error `json:"error,omitempty"`       // why it cannot be used; nil: it can
}

// NewConnection says how an account is connected with a credential that is
// there. User and Provider are needed.
type NewConnection struct {
	User     string            `json:"user_id"`
	Provider string            `json:"provider"`
	Token    string            `json:"token,omitempty"`  // short for the field of that name
	Fields   map[string]string `json:"fields,omitempty"` // what the auth block asks for
	Auth     string            `json:"auth,omitempty"`   // id of the auth block; empty: the first that takes a credential
	Name     string            `json:"name,omitempty"`
	// Account is the provider's id of the account, whose deliveries become the
	// user's events.
	Account string `json:"account,omitempty"`
}

// Create connects an account with a credential that is there.
func (s Connections) Create(ctx context.Context, in NewConnection) (Connection, error) {
	var out Connection
	return out, s.c.call(ctx, http.MethodPost, pathConnections, nil, in, &out)
}

// ConnectionFilter chooses connections; what is empty stands for any.
type ConnectionFilter struct {
	User     string
	Provider string
	Status   events.ConnectionStatus
}

// List yields the connections that fit, page by page as they are asked for. An
// error is the last thing that it yields.
func (s Connections) List(ctx context.Context, f ConnectionFilter) iter.Seq2[Connection, error] {
	query := url.Values{}
	set(query, "user_id", f.User)
	set(query, "provider", f.Provider)
	set(query, "status", string(f.Status))
	return pages(func(cursor string) ([]Connection, string, error) {
		var page struct {
			Connections []Connection `json:"connections"`
			NextCursor  string       `json:"next_cursor"`
		}
		set(query, "cursor", cursor)
		err := s.c.call(ctx, http.MethodGet, pathConnections, query, nil, &page)
		return page.Connections, page.NextCursor, err
	})
}

// pages yields the items of one page after the other.
func pages[T any](next func(cursor string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			items, after, err := next(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if cursor = after; cursor == "" {
				return
			}
		}
	}
}

func pathOfConnection(id string) string { return pathConnections + "/" + url.PathEscape(id) }

// owner is a query that lets an operation see the connections of a user alone.
func owner(user string) url.Values {
	query := url.Values{}
	set(query, "user_id", user)
	return query
}

// Get returns a connection of a user; an empty user stands for any.
func (s Connections) Get(ctx context.Context, user, id string) (Connection, error) {
	var out Connection
	return out, s.c.call(ctx, http.MethodGet, pathOfConnection(id), owner(user), nil, &out)
}

// Refresh gets a newer credential now.
func (s Connections) Refresh(ctx context.Context, user, id string) (Connection, error) {
	var out Connection
	return out, s.c.call(ctx, http.MethodPost, pathOfConnection(id)+"/refresh", owner(user), nil, &out)
}

// Rename sets the user's own word for a connection.
func (s Connections) Rename(ctx context.Context, user, id, name string) (Connection, error) {
	var out Connection
	return out, s.c.call(ctx, http.MethodPatch, pathOfConnection(id), owner(user), map[string]string{"name": name}, &out)
}

// MakeDefault has a connection be meant where a request names none.
func (s Connections) MakeDefault(ctx context.Context, user, id string) (Connection, error) {
	var out Connection
	return out, s.c.call(ctx, http.MethodPatch, pathOfConnection(id), owner(user), map[string]bool{"default": true}, &out)
}

// Revocation says whether the provider took a credential back that was deleted.
type Revocation struct {
	Attempted bool `json:"remote_revoke_attempted"`
	Succeeded bool `json:"remote_revoke_succeeded"`
}

// Delete deletes a connection and its credential, also at the provider.
func (s Connections) Delete(ctx context.Context, user, id string) (Revocation, error) {
	var out Revocation
	return out, s.c.call(ctx, http.MethodDelete, pathOfConnection(id), owner(user), nil, &out)
}

// NewFlow begins to connect an account in the browser. User and Provider are
// needed.
type NewFlow struct {
	User     string   `json:"user_id"`
	Provider string   `json:"provider"`
	Auth     string   `json:"auth,omitempty"`            // id of the auth block; empty: the first that fits
	Scopes   []string `json:"scopes,omitempty"`          // nil: the provider's default scopes
	Name     string   `json:"connection_name,omitempty"` // the user's own word for the connection
	// Reconnect is the id of the connection that gets a new credential; empty: a
	// new connection is made.
	Reconnect string `json:"connection_id,omitempty"`
	ReturnTo  string `json:"return_to,omitempty"` // where the browser goes in the end; on the operator's list
	LoginHint string `json:"login_hint,omitempty"`
}

// Flow is an attempt to connect an account in the browser.
type Flow struct {
	ID         string    `json:"id"`
	ConnectURL string    `json:"connect_url"` // where to send the user's browser
	ExpiresAt  time.Time `json:"expires_at"`  // until when the user can come back
}

// Start begins to connect an account in the browser.
func (s Connections) Start(ctx context.Context, in NewFlow) (Flow, error) {
	var out Flow
	return out, s.c.call(ctx, http.MethodPost, pathConnections+"/start", nil, in, &out)
}

// FlowState is how an attempt to connect stands.
type FlowState struct {
	ID            string        `json:"id"`
	User          string        `json:"user_id"`
	Provider      string        `json:"provider"`
	Status        string        `json:"status"` // pending, connected or failed
	ConnectionID  string        `json:"connection_id,omitempty"`
	MissingScopes []string      `json:"missing_scopes,omitempty"` // that were asked for and not granted
	Error         *events.Error `json:"error,omitempty"`          // of a failed one
	ExpiresAt     time.Time     `json:"expires_at"`
}

// Flow asks how an attempt to connect stands; an empty user stands for any.
func (s Connections) Flow(ctx context.Context, user, id string) (FlowState, error) {
	var out FlowState
	return out, s.c.call(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(id), owner(user), nil, &out)
}

// Link is a page on which a user connects accounts.
type Link struct {
	URL       string    `json:"url"` // a secret: whoever has it connects accounts for that user
	ExpiresAt time.Time `json:"expires_at"`
}

// Link makes a page on which a user connects accounts to some providers in his
// browser, which goes to returnTo in the end; empty: nowhere.
func (s Connections) Link(ctx context.Context, user string, providers []string, returnTo string) (Link, error) {
	var out Link
	in := map[string]any{"user_id": user, "providers": providers}
	if returnTo != "" {
		in["return_to"] = returnTo
	}
	return out, s.c.call(ctx, http.MethodPost, "/v1/connect-sessions", nil, in, &out)
}
