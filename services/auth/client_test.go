package auth

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

var _ interface {
	Credential(ctx context.Context, user, provider, connectionID string) (providers.Credential, error)
} = (*Client)(nil) // what executors want

func newClient(t testing.TB, r *rig) *Client {
	t.Helper()
	c, err := NewClient(r.bus.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Client) request(user, provider, connectionID string) tokenRequest {
	return tokenRequest{UserID: user, Provider: provider, ConnectionID: connectionID, Recipient: c.public, Nonce: "n1"}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestClientGetsTheCredential(t *testing.T) {
	r := newRig(t)
	r.serve(t)
	made, err := r.create(t.Context(), newConnection{UserID: "u1", Provider: "github", Account: "4711", Token: secret("ghp_1")})
	if err != nil {
		t.Fatal(err)
	}
	c, client := made.Connection, newClient(t, r)
	for _, id := range []string{"", c.ID} {
		got, err := client.Credential(t.Context(), "u1", "github", id)
		if err != nil {
			t.Fatal(err)
		}
		if got.Auth != "pat" || got.ConnectionID != c.ID || got.Account != "4711" || got.Version != 1 || !got.Token.Equal(secret("ghp_1")) {
			t.Errorf("got %+v", got)
		}
	}
	_, err = client.Credential(t.Context(), "u2", "github", "")
	if e := wantCode(t, err, events.CodeConnectionNotFound); e.Retryable {
		t.Error("retryable")
	}
}

func TestClientWithoutAService(t *testing.T) {
	r := newRig(t)
	_, err := newClient(t, r).Credential(t.Context(), "u1", "github", "")
	if e := wantCode(t, err, events.CodeInternal); e.Message != "auth service is not running" || !e.Retryable {
		t.Errorf("got %+v", e)
	}
	if _, err := NewClient(nil); err == nil {
		t.Error("a client without a connection")
	}
}

func TestClientWaitsNoLongerThanItsContext(t *testing.T) {
	r := newRig(t)
	asked := make(chan struct{})
	silent, err := r.bus.Conn().Subscribe(subjectToken, func(*nats.Msg) { close(asked) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Unsubscribe() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := newClient(t, r).Credential(ctx, "u1", "github", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestClientOnAClosedConnection(t *testing.T) {
	r := newRig(t)
	client := newClient(t, r)
	r.bus.Conn().Close()
	_, err := client.Credential(t.Context(), "u1", "github", "")
	wantCode(t, err, events.CodeInternal)
}

// A reply of the service, and what others could make of it.
func TestClientRefusesWhatDoesNotBelongToItsRequest(t *testing.T) {
	r := newRig(t)
	one, two := r.connect(t, "u1", "github", "ghp_1"), r.connect(t, "u1", "github", "ghp_2")
	client, other := newClient(t, r), newClient(t, r)
	grantFor := func(request tokenRequest) tokenReply {
		t.Helper()
		reply, err := r.grantToken(t.Context(), encode(t, request), nil)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	request := client.request("u1", "github", one.ID)
	if g, err := client.open(request, grantFor(request)); err != nil || g.Token != "ghp_1" {
		t.Fatalf("its own reply: %v", err)
	}
	forged := func(edit func(*grant)) tokenReply {
		g := grant{Nonce: request.Nonce, UserID: "u1", Provider: "github", ConnectionID: one.ID, Auth: "pat", Version: 1, Token: "ghp_1"}
		edit(&g)
		sender, sealed, err := seal(client.public, g)
		if err != nil {
			t.Fatal(err)
		}
		return tokenReply{ConnectionID: g.ConnectionID, Auth: g.Auth, Version: g.Version, Sender: sender, Sealed: sealed}
	}
	if _, err := client.open(request, forged(func(*grant) {})); err != nil {
		t.Fatalf("what the forgeries start from: %v", err)
	}
	edited := func(edit func(*tokenReply)) tokenReply {
		reply := grantFor(request)
		edit(&reply)
		return reply
	}
	tests := map[string]tokenReply{
		"a reply to another client":         grantFor(other.request("u1", "github", one.ID)),
		"a reply for another connection":    grantFor(client.request("u1", "github", two.ID)),
		"a replay with another nonce":       forged(func(g *grant) { g.Nonce = "n0" }),
		"of another user":                   forged(func(g *grant) { g.UserID = "u2" }),
		"of another provider":               forged(func(g *grant) { g.Provider = "slack" }),
		"without a token":                   forged(func(g *grant) { g.Token = "" }),
		"without a connection":              forged(func(g *grant) { g.ConnectionID = "" }),
		"another version in the clear":      edited(func(r *tokenReply) { r.Version++ }),
		"another connection in the clear":   edited(func(r *tokenReply) { r.ConnectionID = two.ID }),
		"another auth in the clear":         edited(func(r *tokenReply) { r.Auth = "app" }),
		"another sender":                    edited(func(r *tokenReply) { r.Sender = other.public }),
		"a changed byte":                    edited(func(r *tokenReply) { r.Sealed[len(r.Sealed)-1] ^= 1 }),
		"truncated":                         edited(func(r *tokenReply) { r.Sealed = r.Sealed[:10] }),
		"empty":                             {},
		"a sender that is no key":           edited(func(r *tokenReply) { r.Sender = "X" }),
		"a sender that is far too long":     edited(func(r *tokenReply) { r.Sender = strings.Repeat("A", 4096) }),
		"a sender of the right length only": edited(func(r *tokenReply) { r.Sender = strings.Repeat("A", curveKeySize) }),
	}
	for name, reply := range tests {
		t.Run(name, func(t *testing.T) {
			g, err := client.open(request, reply)
			wantCode(t, err, events.CodeInternal)
			if diff := cmp.Diff(grant{}, g); diff != "" {
				t.Errorf("and yet %s", diff)
			}
		})
	}
}
