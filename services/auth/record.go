package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// record is the value of a key in the bucket of connections: the connection in
// the clear, which others read too, next to what only this service reads. All
// that is known of a connection is in it, so that one compare-and-swap moves it
// from one state to the next.
type record struct {
	events.Connection
	App              string     `json:"app,omitempty"`               // id of the app that minted the credential; "": the operator's own
	ObtainedAt       time.Time  `json:"obtained_at,omitzero"`        // when the present credential was
	RefreshExpiresAt time.Time  `json:"refresh_expires_at,omitzero"` // of the refresh token; zero: not known
	Renewable        bool       `json:"renewable,omitempty"`         // a newer credential can be got without the user
	DefaultSince     time.Time  `json:"default_since,omitzero"`      // the latest of several defaults is the one
	Refresh          refreshing `json:"refresh,omitzero"`

	// Fence is the revision of the claim under which the present credential was
	// got: one that was got under an earlier claim never replaces it.
	Fence      uint64 `json:"fence,omitempty"`
	Credential []byte `json:"credential"` // sealed secrets
}

// refreshing is what is under way, and what came of it before. It is zero
// after each success.
type refreshing struct {
	// Holder is the claim: nobody else refreshes until it is gone, or this very
	// revision of the record was seen for a whole lease. "" for no claim.
	Holder  string    `json:"holder,omitempty"`
	Since   time.Time `json:"since,omitzero"`    // of the claim, by the holder's clock; for people
	Attempt int       `json:"attempt,omitempty"` // of refreshing since the last success, from 1
	// Cut counts the claims whose holders went away. The provider may have
	// answered one of them, with a credential that nobody has.
	Cut         int       `json:"cut,omitempty"`
	NextAttempt time.Time `json:"next_attempt,omitzero"` // not before; zero: when it is due
	DeadSince   time.Time `json:"dead_since,omitzero"`   // when the provider first said that the grant is gone
	Failure     *failure  `json:"failure,omitempty"`     // the last one
}

// failure is how a refresh went wrong.
type failure struct {
	Class  failureClass `json:"class"`
	Code   string       `json:"code,omitempty"`   // the provider's
	Status int          `json:"status,omitempty"` // of its answer; 0: there was none
	At     time.Time    `json:"at"`
}

// failureClass says what a failed refresh means for what happens next.
type failureClass string

const (
	// failTransient passes by itself: the credential in hand is used until it
	// expires, and the refresh is tried again.
	failTransient failureClass = "transient"
	// failDead says that the grant is gone: only the user can connect again.
	failDead failureClass = "dead"
	// failMisconfigured says that the app is refused: the operator has to act,
	// and no grant is lost.
	failMisconfigured failureClass = "misconfigured"
	// failAmbiguous says that the provider did refresh, with an answer that
	// cannot be read: the credential in hand may be void.
	failAmbiguous failureClass = "ambiguous"
)

// recordKey is where the record of c stands.
func recordKey(c events.Connection) string {
	return events.Key(c.UserID, c.Provider, c.ID)
}

func (r *record) encode() ([]byte, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the record: %w", err)
	}
	return value, nil
}

// decodeRecord reads the record at key. One that belongs to another key is
// refused: it was copied there. On an error the returned record still names the
// connection, as far as the key tells.
func decodeRecord(key string, value []byte) (record, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return namedBy(key), errors.New("the record is not JSON of the known form")
	}
	if recordKey(r.Connection) != key {
		return namedBy(key), errors.New("the record belongs to another key")
	}
	return r, nil
}

// namedBy tells from a key whose record it is; what the key holds only as a
// hash stays empty.
func namedBy(key string) record {
	var r record
	tokens := strings.Split(key, ".")
	for i, part := range []*string{&r.UserID, &r.Provider, &r.ID} {
		if i < len(tokens) {
			*part, _ = events.Untoken(tokens[i])
		}
	}
	return r
}
