package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	secretBytes = 32 // of a state, a session and the nonce of a cookie
	digestSize  = 43 // characters of a SHA-256 in base64url

	flowTTL    = 10 * time.Minute // to come back from the provider
	outcomeTTL = 10 * time.Minute // that an outcome can be asked for

	prefixSession = "session."

	// The ids of attempts through a browser and on another device, which have
	// keys apart: none can be taken for the other.
	browserFlow, deviceFlow         = "flw_", "dvc_"
	prefixBrowserFlow, prefixDevice = "flow.", "device."

	maxState = 64 << 10 // bytes of a stored value

	// The sealed fields of a flow.
	fieldVerifier, fieldDevice = "verifier", "device_code"
)

// The errors of states.
var (
	errGone  = errors.New("there is no such state, or its time is over")
	errTaken = errors.New("another request was faster")
)

// newToken makes a secret that goes through a browser, and the id under which
// it is stored. Nobody gets from the id to the secret.
func newToken() (token, id string) {
	raw := make([]byte, secretBytes)
	_, _ = rand.Read(raw) // never fails
	token = base64.RawURLEncoding.EncodeToString(raw)
	return token, digest(token)
}

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// isDigest reports whether s can be a digest, or a token: they look alike. It
// keeps everything else out of the keys of the bucket.
func isDigest(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(s) == digestSize && len(raw) == sha256.Size
}

// flowStatus is how far an attempt has come.
type flowStatus string

const (
	flowPending   flowStatus = "pending"
	flowTaken     flowStatus = "taken" // the browser has come back, and its code is being exchanged
	flowConnected flowStatus = "connected"
	flowFailed    flowStatus = "failed"
)

// flow is one attempt to connect an account. It is the value of a key in the
// bucket of states and holds no secret in the clear.
type flow struct {
	ID       string   `json:"id"` // also of its key
	UserID   string   `json:"user_id"`
	Provider string   `json:"provider"`
	Auth     string   `json:"auth"`
	App      string   `json:"app"` // client id
	Scopes   []string `json:"scopes,omitempty"`
	Name     string   `json:"name,omitempty"`

	Reconnect   string      `json:"reconnect,omitempty"` // id of the connection that gets a new credential; "": a new connection
	ReturnTo    string      `json:"return_to,omitempty"`
	RedirectURI string      `json:"redirect_uri,omitempty"`
	Verifier    []byte      `json:"verifier,omitempty"` // of PKCE, sealed
	Cookie      string      `json:"cookie,omitempty"`   // digest of the nonce in the browser's cookie; "": any browser
	Device      *deviceCode `json:"device,omitempty"`   // nil: through a browser

	ExpiresAt time.Time     `json:"expires_at"`
	Status    flowStatus    `json:"status"`
	Outcome   *events.Error `json:"error,omitempty"` // of a failed one
	Connected string        `json:"connection_id,omitempty"`
	Missing   []string      `json:"missing_scopes,omitempty"`
}

// over reports whether the attempt has an outcome.
func (f *flow) over() bool { return f.Status == flowConnected || f.Status == flowFailed }

// states keeps what is only needed for minutes. Its values say when their time
// is over; that the bucket forgets them as well only keeps it small.
type states struct {
	kv   jetstream.KeyValue
	js   jetstream.JetStream
	keys *Keys
	now  func() time.Time
}

// flow returns the attempt with that id, and its revision. Its error is errGone
// unless the bus fails.
func (s *states) flow(ctx context.Context, id string) (flow, uint64, error) {
	if !isFlowID(id) {
		return flow{}, 0, errGone
	}
	value, revision, err := s.read(ctx, flowKey(id))
	if err != nil {
		return flow{}, 0, err
	}
	f, err := decodeFlow(id, value)
	if err != nil {
		return flow{}, 0, err
	}
	if !s.now().Before(f.ExpiresAt) {
		return flow{}, 0, errGone
	}
	return f, revision, nil
}

// put writes f over the revision last, 0 for a new one. Where the record has
// moved on, the error is errTaken.
func (s *states) put(ctx context.Context, f flow, last uint64) (uint64, error) {
	value, err := json.Marshal(f)
	if err != nil {
		return 0, fmt.Errorf("encoding the flow: %w", err)
	}
	return s.write(ctx, flowKey(f.ID), value, last, f.ExpiresAt)
}

func (s *states) read(ctx context.Context, key string) ([]byte, uint64, error) {
	entry, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, 0, errGone
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the state: %w", err)
	}
	return entry.Value(), entry.Revision(), nil
}

// write is a compare-and-swap that also says how long the value is kept:
// KeyValue.Update forgets that.
func (s *states) write(ctx context.Context, key string, value []byte, last uint64, until time.Time) (uint64, error) {
	if len(value) > maxState {
		return 0, fmt.Errorf("writing the state: %d bytes are too many", len(value))
	}
	msg := nats.NewMsg("$KV." + bus.BucketStates + "." + key)
	msg.Data = value
	kept := max(until.Sub(s.now()), time.Second).Round(time.Second)
	ack, err := s.js.PublishMsg(ctx, msg,
		jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithMsgTTL(kept+time.Minute))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, errTaken
	}
	if err != nil {
		return 0, fmt.Errorf("writing the state: %w", err)
	}
	return ack.Sequence, nil
}

// decodeFlow reads the flow with that id. One that was copied from another key
// is refused.
func decodeFlow(id string, value []byte) (flow, error) {
	var f flow
	if len(value) > maxState || json.Unmarshal(value, &f) != nil {
		return flow{}, errGone
	}
	switch {
	case f.ID != id || !isFlowID(id):
		return flow{}, errGone
	case f.UserID == "" || f.Provider == "" || f.ExpiresAt.IsZero():
		return flow{}, errGone
	case f.Status == flowFailed && f.Outcome == nil, f.Status == flowConnected && f.Connected == "":
		return flow{}, errGone
	case f.Status != flowPending && f.Status != flowTaken && !f.over():
		return flow{}, errGone
	case !f.over() && strings.HasPrefix(id, deviceFlow) != (f.Device != nil):
		return flow{}, errGone
	}
	return f, nil
}

// isFlowID reports whether id is one that newToken has made, of either kind.
func isFlowID(id string) bool {
	return len(id) > len(browserFlow) && isDigest(id[len(browserFlow):]) &&
		(strings.HasPrefix(id, browserFlow) || strings.HasPrefix(id, deviceFlow))
}

// flowKey is where the attempt with that id stands.
func flowKey(id string) string {
	if strings.HasPrefix(id, deviceFlow) {
		return prefixDevice + id
	}
	return prefixBrowserFlow + id
}

// placeOfFlow is the associated data of a sealed field of a flow. Who it is for
// is part of it: nobody can turn one user's attempt into another's.
func placeOfFlow(f *flow, field string) []byte {
	return associatedData("flow", f.ID, f.UserID, f.Provider, f.Auth, field)
}

// flowValues lists what is encrypted in a value of the bucket of states.
func flowValues(key string, value []byte) ([]sealedValue, error) {
	prefix, id, _ := strings.Cut(key, ".")
	if prefix+"." == prefixSession {
		return nil, nil
	}
	f, err := decodeFlow(id, value)
	if err != nil {
		return nil, err
	}
	var values []sealedValue
	if f.Verifier != nil {
		values = append(values, sealedValue{f.Verifier, placeOfFlow(&f, fieldVerifier)})
	}
	if f.Device != nil {
		values = append(values, sealedValue{f.Device.Code, placeOfFlow(&f, fieldDevice)})
	}
	return values, nil
}
