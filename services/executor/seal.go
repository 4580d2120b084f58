package executor

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"

	"github.com/plugfn/plugfn/pkg/providers"
)

// seal encrypts what is kept outside of this process, with a key that follows
// from the credential it was got with. Whoever may ask the provider has the key;
// the store does not.
type seal struct{ aead cipher.AEAD }

// sealOf returns false where the credential has no secret.
func sealOf(c providers.Credential) (seal, bool) {
	var secret []byte
	add := func(name string, s providers.Secret) {
		value := s.Reveal()
		sum := sha256.Sum256(value)
		clear(value)
		secret = append(append(secret, digest(name)...), sum[:]...)
	}
	if !c.Token.IsZero() {
		add("token", c.Token)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		if !c.Fields[name].IsZero() {
			add("field "+name, c.Fields[name])
		}
	}
	if secret == nil {
		return seal{}, false
	}
	defer clear(secret)
	key, err := hkdf.Key(sha256.New, secret, []byte(c.ConnectionID), "plugfn answers v1", 32)
	if err != nil {
		return seal{}, false
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return seal{}, false
	}
	aead, err := cipher.NewGCM(block)
	return seal{aead}, err == nil
}

// close encrypts value for its place.
func (s seal) close(place string, value []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(value)+s.aead.Overhead())
	_, _ = rand.Read(nonce) // it does not fail
	return s.aead.Seal(nonce, nonce, value, []byte(place))
}

// open decrypts what close has made for the same place.
func (s seal) open(place string, closed []byte) ([]byte, error) {
	if len(closed) < s.aead.NonceSize() {
		return nil, errors.New("it is too short")
	}
	return s.aead.Open(nil, closed[:s.aead.NonceSize()], closed[s.aead.NonceSize():], []byte(place))
}
