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
	maxAsker     = 128     // bytes
	curveKeySize = 56      // characters of a public curve key
)

// tokenRequest asks for the credential of a connection.
type tokenRequest struct {
	UserID       string `json:"user_id"`
	Provider     string `json:"provider"`
	ConnectionID string `json:"connection_id,omitempty"` // "": the user's default or only one
	// SeenVersion is the version of a credential that the provider has refused.
	// One that is newer is wanted, 0: any.
	SeenVersion int    `json:"seen_version,omitempty"`
	Asker       string `json:"asker,omitempty"` // who asks, by its own account; for the audit
	Recipient   string `json:"recipient"`       // public curve key that the reply is sealed to
	Nonce       string `json:"nonce"`           // chosen anew for each request
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
	Nonce        string            `json:"nonce"`
	UserID       string            `json:"user_id"`
	Provider     string            `json:"provider"`
	ConnectionID string            `json:"connection_id"`
	Auth         string            `json:"auth"`
	Account      string            `json:"account,omitempty"`
	Version      int               `json:"version"`
	SeenVersion  int               `json:"seen_version,omitempty"`
	Token        string            `json:"token,omitempty"`
	Fields       map[string]string `json:"fields,omitempty"`
	ReuseMS      int64             `json:"reuse_ms,omitempty"` // for how long it may be used without asking again
}

// grantToken reads a request and seals the credential that it asks for. Where it
// has to wait for a refresh, it does so in rest.
func (s *Service) grantToken(ctx context.Context, data []byte, rest rest) (tokenReply, error) {
	request, err := parseTokenRequest(data)
	if err != nil {
		return tokenReply{}, err
	}
	k, in, err := s.handOut(ctx, &request, rest)
	if err != nil {
		return tokenReply{}, err
	}
	token := in.AccessToken.Reveal()
	defer clear(token)
	sender, sealed, err := seal(request.Recipient, grant{
		Nonce:        request.Nonce,
		UserID:       request.UserID,
		Provider:     request.Provider,
		ConnectionID: k.ID,
		Auth:         k.Auth,
		Account:      k.Account,
		Version:      k.Version,
		SeenVersion:  request.SeenVersion,
		Token:        string(token),
		Fields:       in.handedFields(),
		ReuseMS:      k.reuse(s.store.now()).Milliseconds(),
	})
	if err != nil {
		return tokenReply{}, err
	}
	s.log.Debug().Str("connection", k.ID).Int("version", k.Version).Msg("credential handed out")
	s.audit.used(&k, request.Asker)
	return tokenReply{ConnectionID: k.ID, Auth: k.Auth, Version: k.Version, Sender: sender, Sealed: sealed}, nil
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
		{"asker", r.Asker, maxAsker},
		{"nonce", r.Nonce, maxNonce},
	} {
		if len(field.value) > field.limit {
			return r, invalid(field.name, "longer than %d bytes", field.limit)
		}
	}
	if r.SeenVersion < 0 {
		return r, invalid("seen_version", "must not be negative")
	}
	if !isPlain(r.Asker) {
		return r, invalid("asker", "must be valid UTF-8 without control characters")
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
func seal(recipient string, g any) (sender string, sealed []byte, err error) {
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
