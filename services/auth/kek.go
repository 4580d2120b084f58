package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	kekSize = 32 // bytes
	maxKEKs = 8
)

var (
	errKEKForm  = errors.New("must be 32 bytes in base64, such as openssl rand -base64 32 makes; two, one on each line and the new one first, while a new one takes over")
	errWrongKEK = errors.New("the key that wraps it is not the one that it was wrapped with, or it is damaged")
)

// KEK is a Wrapper with a key that the operator keeps.
type KEK struct {
	keys []tink.AEAD // the first one wraps, each unwraps
}

// NewKEK reads a key of 32 bytes in base64. There may be more of them, one on
// each line: the first one wraps, the others only unwrap what they wrapped
// earlier. Its error shows nothing of them.
func NewKEK(text providers.Secret) (*KEK, error) {
	revealed := text.Reveal()
	defer clear(revealed)
	kek := &KEK{}
	for line := range bytes.Lines(revealed) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		key, err := decodeKEK(line)
		if err != nil || len(kek.keys) == maxKEKs {
			return nil, errKEKForm
		}
		kek.keys = append(kek.keys, key)
	}
	if len(kek.keys) == 0 {
		return nil, errKEKForm
	}
	return kek, nil
}

func decodeKEK(line []byte) (tink.AEAD, error) {
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	defer clear(raw)
	n, err := base64.StdEncoding.Decode(raw, line)
	if err != nil || n != kekSize {
		return nil, errKEKForm
	}
	return subtle.NewAESGCM(raw[:n])
}

// placeOfKeyset is the associated data of a wrapped keyset.
func placeOfKeyset() []byte { return associatedData("keyset") }

// Wrap encrypts with the first key.
func (k *KEK) Wrap(_ context.Context, plain []byte) ([]byte, error) {
	return k.keys[0].Encrypt(plain, placeOfKeyset())
}

// Unwrap decrypts with whichever key does.
func (k *KEK) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	for _, key := range k.keys {
		if plain, err := key.Decrypt(wrapped, placeOfKeyset()); err == nil {
			return plain, nil
		}
	}
	return nil, errWrongKEK
}
