package auth

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// errUnreadable is what remains of every reason why a ciphertext does not open:
// another key, another place, a changed byte.
var errUnreadable = errors.New("the stored credential cannot be decrypted")

// fieldCredential is the field of a connection record that holds the sealed
// credential.
const fieldCredential = "credential"

// credential is what is sealed into the field of that name. OAuth adds to it.
type credential struct {
	Token string `json:"token"`
}

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

// sealCredential encrypts token for the credential field of c.
func (k *Keys) sealCredential(c events.Connection, token providers.Secret) ([]byte, error) {
	revealed := token.Reveal()
	defer clear(revealed)
	plain, err := json.Marshal(credential{Token: string(revealed)})
	if err != nil {
		return nil, fmt.Errorf("encoding the credential: %w", err)
	}
	defer clear(plain)
	sealed, err := k.primitive.Encrypt(plain, place(c, fieldCredential))
	if err != nil {
		return nil, fmt.Errorf("encrypting the credential: %w", err)
	}
	return sealed, nil
}

// openCredential decrypts the credential field of c. Its only error is
// errUnreadable.
func (k *Keys) openCredential(c events.Connection, sealed []byte) (providers.Secret, error) {
	plain, err := k.primitive.Decrypt(sealed, place(c, fieldCredential))
	if err != nil {
		return providers.Secret{}, errUnreadable
	}
	defer clear(plain)
	var opened credential
	if err := json.Unmarshal(plain, &opened); err != nil || opened.Token == "" {
		return providers.Secret{}, errUnreadable
	}
	return providers.NewSecret([]byte(opened.Token)), nil
}
