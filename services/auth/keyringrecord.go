package auth

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// keysetKey is where the record of the keyset stands in its bucket.
	keysetKey = "keyset"

	// maxKeys bounds the keys of a keyset: each costs a canary to check.
	maxKeys = 64

	// canaryText is what stands, encrypted under each key, in the record. Who
	// can decrypt it has that key.
	canaryText = "plugfn"
)

// keyStatus says what a key is for.
type keyStatus string

// The statuses, in the order in which a key goes through them. Only in the last
// one does it no longer decrypt.
const (
	keyStaged   keyStatus = "staged"   // nothing is encrypted under it until every process has it
	keyPrimary  keyStatus = "primary"  // what is written is encrypted under it; there is exactly one
	keyEnabled  keyStatus = "enabled"  // it decrypts what was written earlier
	keyDisabled keyStatus = "disabled" // kept, for the case that it was missed
)

// keyRecord says which keys there are and what each is for. It is one value,
// so that one compare-and-swap moves all processes from one generation to the
// next. The keys themselves are in Wrapped, or without it in the keyset file;
// a key that the record does not list is not used.
type keyRecord struct {
	Generation uint64     `json:"generation"` // one more with each change
	Keys       []keyState `json:"keys"`
	Wrapped    []byte     `json:"wrapped,omitempty"` // the Tink keyset, encrypted by the Wrapper
}

type keyState struct {
	ID        uint32    `json:"id"`
	Status    keyStatus `json:"status"`
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"` // when it got its status
	Canary    []byte    `json:"canary"`
}

func (s keyState) decrypts() bool { return s.Status != keyDisabled }

// decodeKeyRecord reads the value of keysetKey and makes sure of all that the
// rest relies on.
func decodeKeyRecord(value []byte) (keyRecord, error) {
	var r keyRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return keyRecord{}, errors.New("it is not JSON of the known form")
	}
	if len(r.Keys) > maxKeys || len(r.Wrapped) > 2*maxKeyset {
		return keyRecord{}, errors.New("it is too large")
	}
	seen, primaries := map[uint32]bool{}, 0
	for _, s := range r.Keys {
		if s.ID == 0 || seen[s.ID] {
			return keyRecord{}, fmt.Errorf("key %d is listed twice or is none", s.ID)
		}
		seen[s.ID] = true
		switch s.Status {
		case keyPrimary:
			primaries++
		case keyStaged, keyEnabled, keyDisabled:
		default:
			return keyRecord{}, fmt.Errorf("key %d has a status of a later version", s.ID)
		}
	}
	if primaries != 1 || r.Generation == 0 {
		return keyRecord{}, errors.New("it has no generation, or not exactly one primary key")
	}
	return r, nil
}

func (r *keyRecord) encode() ([]byte, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the keyset record: %w", err)
	}
	return value, nil
}

// key returns what the record says of a key; nil if it is not listed.
func (r *keyRecord) key(id uint32) *keyState {
	i := slices.IndexFunc(r.Keys, func(s keyState) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return &r.Keys[i]
}

// of returns the keys of a status, oldest first.
func (r *keyRecord) of(status keyStatus) (ids []uint32) {
	for _, s := range r.Keys {
		if s.Status == status {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func (r *keyRecord) primary() uint32 { return r.of(keyPrimary)[0] }

// clone returns a copy that can be changed.
func (r *keyRecord) clone() keyRecord {
	c := *r
	c.Keys = slices.Clone(r.Keys)
	return c
}

// set gives a key a status.
func (r *keyRecord) set(id uint32, status keyStatus, now time.Time) {
	s := r.key(id)
	s.Status, s.ChangedAt = status, now.UTC()
}

// promote makes a staged key the primary one.
func (r *keyRecord) promote(id uint32, now time.Time) {
	r.set(r.primary(), keyEnabled, now)
	r.set(id, keyPrimary, now)
}

// tinkPrefix begins every ciphertext; the id of its key follows.
const (
	tinkPrefix     = 0x01
	tinkPrefixSize = 1 + 4
)

// keyIDOf returns the id of the key that a ciphertext says it is under.
func keyIDOf(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < tinkPrefixSize || sealed[0] != tinkPrefix {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}
