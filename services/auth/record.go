package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// record is the value of a key in the bucket of connections: the connection in
// the clear, which others read too, next to what only this service reads. All
// that is known of a connection is in it, so that one compare-and-swap moves it
// from one state to the next.
type record struct {
	events.Connection
	Credential []byte `json:"credential"` // sealed
}

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
