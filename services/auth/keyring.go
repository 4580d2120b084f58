package auth

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// maxKeyset is the largest keyset that is read, in bytes of JSON. One of
// maxKeys keys has about 15,000.
const maxKeyset = 64 << 10

// errNotAKeyset is what remains of every reason why bytes are not a keyset that
// can be used: the others quote the bytes.
var errNotAKeyset = errors.New("it is no Tink keyset for AEAD in JSON")

// parseKeyset reads a Tink keyset in JSON. Keys whose ciphertexts do not say
// which key they are under are refused: nobody could tell when they are no
// longer needed.
func parseKeyset(text []byte) (*keyset.Handle, error) {
	if len(text) > maxKeyset {
		return nil, errNotAKeyset
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil {
		return nil, errNotAKeyset
	}
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		if key.GetOutputPrefixType() != tinkpb.OutputPrefixType_TINK || key.GetKeyId() == 0 {
			return nil, errNotAKeyset
		}
	}
	if _, err := aead.New(handle); err != nil {
		return nil, errNotAKeyset
	}
	return handle, nil
}

// encodeKeyset is the inverse of parseKeyset. Clear what it returns.
func encodeKeyset(handle *keyset.Handle) ([]byte, error) {
	var text bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&text)); err != nil {
		return nil, errors.New("encoding the keyset: Tink refuses it")
	}
	return text.Bytes(), nil
}

// keyIDs lists the keys that a keyset has and that are not destroyed.
func keyIDs(handle *keyset.Handle) (ids []uint32) {
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		if s := key.GetStatus(); s == tinkpb.KeyStatusType_ENABLED || s == tinkpb.KeyStatusType_DISABLED {
			ids = append(ids, key.GetKeyId())
		}
	}
	return ids
}

// addKey returns the keyset with one more key.
func addKey(handle *keyset.Handle) (*keyset.Handle, uint32, error) {
	manager := keyset.NewManagerFromHandle(handle)
	id, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, 0, fmt.Errorf("generating a key: %w", err)
	}
	more, err := manager.Handle()
	if err != nil {
		return nil, 0, fmt.Errorf("generating a key: %w", err)
	}
	return more, id, nil
}

// onlyKeys returns the keyset with no other keys than these, which it must
// have, and all of them enabled.
func onlyKeys(handle *keyset.Handle, primary uint32, ids []uint32) (*keyset.Handle, error) {
	manager := keyset.NewManagerFromHandle(handle)
	for _, id := range ids {
		if err := manager.Enable(id); err != nil {
			return nil, errNotAKeyset
		}
	}
	if err := manager.SetPrimary(primary); err != nil {
		return nil, errNotAKeyset
	}
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		if !slices.Contains(ids, key.GetKeyId()) {
			if err := manager.Delete(key.GetKeyId()); err != nil {
				return nil, errNotAKeyset
			}
		}
	}
	only, err := manager.Handle()
	if err != nil {
		return nil, errNotAKeyset
	}
	return only, nil
}

// newKeyState describes a key of the keyset for its record.
func newKeyState(handle *keyset.Handle, id uint32, status keyStatus) (keyState, error) {
	only, err := onlyKeys(handle, id, []uint32{id})
	if err != nil {
		return keyState{}, err
	}
	primitive, err := aead.New(only)
	if err != nil {
		return keyState{}, errNotAKeyset
	}
	canary, err := primitive.Encrypt([]byte(canaryText), associatedData("canary"))
	if err != nil {
		return keyState{}, fmt.Errorf("encrypting the canary: %w", err)
	}
	return keyState{ID: id, Status: status, Canary: canary}, nil
}

// ring is the keys of one generation, ready for use. It does not change.
type ring struct {
	record  keyRecord
	keys    tink.AEAD // the primary key encrypts
	missing []uint32  // staged keys that the keyset does not have (yet)
}

// wrongKeyset says that a keyset is not the one that a record is about.
type wrongKeyset struct{ id uint32 }

// Error names the first key that is not as it should be.
func (w wrongKeyset) Error() string {
	return fmt.Sprintf("is not the one that this data was written with: key %d is another one or is not in it", w.id)
}

// newRing makes a ring of what a record says and the keyset that it is about.
// Where they do not belong together the error is a wrongKeyset.
func newRing(r keyRecord, handle *keyset.Handle) (*ring, error) {
	there := keyIDs(handle)
	made := &ring{record: r}
	var wanted []uint32
	for _, s := range r.Keys {
		has := slices.Contains(there, s.ID)
		switch {
		case has && s.decrypts():
			wanted = append(wanted, s.ID)
		case !has && s.Status == keyStaged:
			made.missing = append(made.missing, s.ID)
		case !has && s.decrypts():
			return nil, wrongKeyset{s.ID}
		}
	}
	only, err := onlyKeys(handle, r.primary(), wanted)
	if err != nil {
		return nil, err
	}
	if made.keys, err = aead.New(only); err != nil {
		return nil, errNotAKeyset
	}
	for _, id := range wanted {
		if !made.owns(*r.key(id)) {
			return nil, wrongKeyset{id}
		}
	}
	return made, nil
}

// owns reports whether the ring's key of that id is the one that the record was
// written with.
func (g *ring) owns(s keyState) bool {
	id, ok := keyIDOf(s.Canary)
	if !ok || id != s.ID {
		return false
	}
	text, err := g.keys.Decrypt(s.Canary, associatedData("canary"))
	return err == nil && string(text) == canaryText
}

// lacks reports whether a ciphertext is under a key that this ring has never
// seen: a newer one may have it.
func (g *ring) lacks(sealed []byte) bool {
	id, ok := keyIDOf(sealed)
	return ok && (g.record.key(id) == nil || slices.Contains(g.missing, id))
}
