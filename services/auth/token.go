package auth

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	maxRequest   = 8 << 10 // bytes
	maxProvider  = 64      // bytes
	maxNonce     = 64      // bytes
	curveKeySize = 56      // characters of a public curve key
)

// tokenRequest asks for the credential of a connection.
type tokenRequest struct {
	UserID       string `json:"user_id"`
	Provider     string `json:"provider"`
	ConnectionID string `json:"connection_id,omitempty"` // "": the user's only one
	Recipient    string `json:"recipient"`               // public curve key that the reply is sealed to
	Nonce        string `json:"nonce"`                   // chosen anew for each request
}

// tokenReply holds either Error or all the rest.
type tokenReply struct {
	ConnectionID string        `json:"connection_id,omitempty"`
	Auth         string        `json:"auth,omitempty"`
	Version      int           `json:"version,omitempty"`
	Sender       string        `json:"sender,omitempty"` // public curve key of this one reply
	Sealed       []byte        `json:"sealed,omitempty"` // a grant
	Error        *events.Error `json:"error,omitempty"`
}

// grant is what is sealed. It repeats the request, so that a reply answers that
// request and no other.
type grant struct {
	Nonce        string `json:"nonce"`
	UserID       string `json:"user_id"`
	Provider     string `json:"provider"`
	ConnectionID string `json:"connection_id"`
	Auth         string `json:"auth"`
	Version      int    `json:"version"`
	Token        string `json:"token"`
}

// grantToken reads a request and seals the credential that it asks for.
func (s *Service) grantToken(ctx context.Context, data []byte) (tokenReply, error) {
	request, err := parseTokenRequest(data)
	if err != nil {
		return tokenReply{}, err
	}
	c, err := s.store.credential(ctx, request.UserID, request.Provider, request.ConnectionID)
	if err != nil {
		return tokenReply{}, err
	}
	revealed := c.Token.Reveal()
	defer clear(revealed)
	sender, sealed, err := seal(request.Recipient, grant{
		Nonce:        request.Nonce,
		UserID:       request.UserID,
		Provider:     request.Provider,
		ConnectionID: c.ConnectionID,
		Auth:         c.Auth,
		Version:      c.Version,
		Token:        string(revealed),
	})
	if err != nil {
		return tokenReply{}, err
	}
	s.log.Debug().Str("connection", c.ConnectionID).Int("version", c.Version).Msg("credential handed out")
	return tokenReply{ConnectionID: c.ConnectionID, Auth: c.Auth, Version: c.Version, Sender: sender, Sealed: sealed}, nil
}

func parseTokenRequest(data []byte) (tokenRequest, error) {
	var r tokenRequest
	if len(data) > maxRequest || json.Unmarshal(data, &r) != nil {
		return r, events.Errorf(events.CodeInvalidParams, "a token request is a JSON object of at most %d bytes", maxRequest)
	}
	for _, field := range []struct {
		name, value string
		limit       int
	}{
		{"user_id", r.UserID, maxUser},
		{"provider", r.Provider, maxProvider},
		{"connection_id", r.ConnectionID, events.MaxID},
		{"nonce", r.Nonce, maxNonce},
	} {
		if len(field.value) > field.limit {
			return r, invalid(field.name, "longer than %d bytes", field.limit)
		}
	}
	if r.Nonce == "" {
		return r, invalid("nonce", "must not be empty")
	}
	// nkeys trusts the length of what it decodes.
	if len(r.Recipient) != curveKeySize || !nkeys.IsValidPublicCurveKey(r.Recipient) {
		return r, invalid("recipient", "must be a public curve key (X…)")
	}
	return r, nil
}

// seal encrypts g to a public curve key, with a key of its own for this once.
func seal(recipient string, g grant) (sender string, sealed []byte, err error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return "", nil, fmt.Errorf("making a curve key: %w", err)
	}
	defer pair.Wipe()
	plain, err := json.Marshal(g)
	if err != nil {
		return "", nil, fmt.Errorf("encoding the grant: %w", err)
	}
	defer clear(plain)
	if sender, err = pair.PublicKey(); err != nil {
		return "", nil, fmt.Errorf("sealing the grant: %w", err)
	}
	if sealed, err = pair.Seal(plain, recipient); err != nil {
		return "", nil, fmt.Errorf("sealing the grant: %w", err)
	}
	return sender, sealed, nil
}
