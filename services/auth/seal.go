package auth

import (
	"errors"
	"fmt"

	"github.com/plugfn/plugfn/pkg/events"
)

// errUnreadable is what remains of every reason why a ciphertext does not open:
// another key, another place, a changed byte.
var errUnreadable = errors.New("the stored credential cannot be decrypted")

// fieldCredential is the field of a connection record that holds the sealed
// credential.
const fieldCredential = "credential"

// associatedData names the one place that a ciphertext belongs to. Each part is
// preceded by its length, so that no two lists of parts give the same bytes.
func associatedData(parts ...string) []byte {
	ad := []byte("plugfn/v1")
	for _, part := range parts {
		ad = fmt.Appendf(ad, "|%d:%s", len(part), part)
	}
	return ad
}

// place is the associated data of a field of c. The provider is part of it, so
// that nobody can have a credential sent to another provider's host by
// rewriting what a record says in the clear.
func place(c events.Connection, field string) []byte {
	return associatedData(c.UserID, c.Provider, c.ID, field)
}

// sealCredential encrypts what is secret of c for its credential field.
func (k *Keys) sealCredential(c events.Connection, s secrets) ([]byte, error) {
	return k.sealSecrets(place(c, fieldCredential), s)
}

// openCredential decrypts the credential field of c. Its only error is
// errUnreadable.
func (k *Keys) openCredential(c events.Connection, sealed []byte) (secrets, error) {
	return k.openSecrets(place(c, fieldCredential), sealed)
}

// sealSecrets encrypts s for a place.
func (k *Keys) sealSecrets(place []byte, s secrets) ([]byte, error) {
	plain, err := s.encode()
	if err != nil {
		return nil, fmt.Errorf("encoding the credential: %w", err)
	}
	defer clear(plain)
	return k.sealAt(plain, place)
}

// openSecrets decrypts what sealSecrets made. Its only error is errUnreadable.
func (k *Keys) openSecrets(place, sealed []byte) (secrets, error) {
	plain, err := k.openAt(sealed, place)
	if err != nil {
		return secrets{}, errUnreadable
	}
	defer clear(plain)
	opened, err := decodeSecrets(plain)
	if err != nil || opened.isZero() {
		return secrets{}, errUnreadable
	}
	return opened, nil
}
