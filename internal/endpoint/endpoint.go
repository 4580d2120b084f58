package endpoint

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/providers"
)

// State says whether deliveries are taken.
type State string

// The states of an endpoint.
const (
	// Pending waits for its secret, or for the first genuine delivery. Only now
	// may a handshake of the provider bring a secret.
	Pending State = "pending"
	// Active takes deliveries, and no secret but the operator's.
	Active State = "active"
	// Paused answers as if there were no such endpoint.
	Paused State = "paused"
)

// States lists all states.
func States() []State { return []State{Pending, Active, Paused} }

// Endpoint is one as the ingress needs it. It is a copy: nobody else changes it.
type Endpoint struct {
	ID           string
	Key          string // in the bucket of endpoints
	Provider     string
	UserID       string
	ConnectionID string // "": the events are the user's, of no connection
	State        State
	Secrets      []providers.Secret // that are good now
	URL          string             // as the provider has it, for schemes that sign it; "": not known
	// Webhooks reads the deliveries; nil: the pack's own block does.
	Webhooks *providers.Webhooks
}

// New returns the id of a new endpoint and its token.
func New() (name, token string) {
	random := make([]byte, 20)
	_, _ = rand.Read(random) // never fails
	return id.New("whk"), base64.RawURLEncoding.EncodeToString(random)
}

// Path is where deliveries to the endpoint with that token arrive.
func Path(provider, token string) string { return "/webhooks/" + provider + "/" + token }

// Digest is what a log may show of a token, or of what somebody sent as one:
// enough to find the same again, of no use to send with.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "h-" + hex.EncodeToString(sum[:8])
}
