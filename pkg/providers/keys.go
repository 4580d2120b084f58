package providers

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// minRSA is the least number of bits of a key that counts.
const minRSA = 1024

// keyForms lists how the key of a scheme may be written, the usual one first.
func keyForms(scheme string, remote bool, symmetric bool) []string {
	switch {
	case remote:
		return nil
	case scheme == "hmac", scheme == "jwt" && symmetric:
		return []string{"utf8", "hex", "base64", "base64url", "whsec"}
	case scheme == "ed25519":
		return []string{"hex", "base64", "whpk", "spki"}
	case scheme == "ecdsa", scheme == "rsa", scheme == "jwt":
		return []string{"spki"}
	default:
		return nil
	}
}

// decodeKey returns the bytes of a key that is written in the given form. No
// key is empty: anybody can sign with that one.
func decodeKey(form string, written []byte) ([]byte, error) {
	key := written
	var err error
	switch form {
	case "hex":
		key, err = hex.DecodeString(string(written))
	case "base64":
		key, err = base64.StdEncoding.DecodeString(string(written))
	case "base64url":
		key, err = base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(written, "=")))
	case "whsec":
		key, err = base64.StdEncoding.DecodeString(string(bytes.TrimPrefix(written, []byte("whsec_"))))
	case "whpk":
		key, err = base64.StdEncoding.DecodeString(string(bytes.TrimPrefix(written, []byte("whpk_"))))
	case "spki":
		key, err = decodeSPKI(written)
	}
	if err != nil {
		return nil, fmt.Errorf("the secret is not written as %s", form) // err would show parts of it
	}
	if len(key) == 0 {
		return nil, errors.New("the secret is empty")
	}
	return key, nil
}

// decodeSPKI takes the armour off a public key: PEM, or nothing but base64.
func decodeSPKI(written []byte) ([]byte, error) {
	if block, _ := pem.Decode(bytes.TrimSpace(written)); block != nil {
		return block.Bytes, nil
	}
	return base64.StdEncoding.DecodeString(string(bytes.TrimSpace(written)))
}

// UsesKey tells whether a secret of the endpoint is the key of the signature.
func (v *Verifier) UsesKey() bool {
	switch v.Scheme {
	case "hmac", "ed25519", "ecdsa", "token", "basic":
		return true
	case "rsa":
		return v.Certificate == nil
	case "jwt":
		return v.JWKS == ""
	default:
		return false
	}
}

// kinds lists the kinds of secrets without which nothing passes.
func (v *Verifier) kinds() []string {
	var all []string
	if v.UsesKey() {
		all = append(all, v.Secret)
	}
	all = append(all, v.Expect.secrets()...)
	all = append(all, v.Message.secrets()...)
	if v.Call != nil {
		all = append(all, v.Call.Body.secrets()...)
	}
	return all
}

func (m Message) secrets() []string {
	var kinds []string
	for _, p := range m {
		if p.kind == partSecret {
			kinds = append(kinds, p.text)
		}
	}
	return kinds
}

// checkKey tells whether a secret is one that the scheme can use.
func (v *Verifier) checkKey(written []byte) error {
	switch {
	case v.Scheme == "token":
		return nil
	case v.Scheme == "basic":
		if !bytes.Contains(written, []byte(":")) {
			return errors.New("the secret must be user:password")
		}
		return nil
	case v.Scheme == "hmac" || v.symmetric():
		_, err := decodeKey(v.Key, written)
		return err
	}
	_, err := v.publicKey(written)
	return err
}

// publicKey reads a key of the scheme.
func (v *Verifier) publicKey(written []byte) (crypto.PublicKey, error) {
	raw, err := decodeKey(v.Key, written)
	if err != nil {
		return nil, err
	}
	var key crypto.PublicKey
	if v.Key == "spki" {
		if key, err = x509.ParsePKIXPublicKey(raw); err != nil {
			return nil, errors.New("the secret is not a public key (SubjectPublicKeyInfo, in PEM or base64)")
		}
	} else if len(raw) == ed25519.PublicKeySize {
		key = ed25519.PublicKey(raw)
	}
	if !v.takes(key) {
		return nil, fmt.Errorf("the secret is not a public key of %s", v.Scheme)
	}
	return key, nil
}

// takes tells whether a key is one of the scheme, and not a weak one.
func (v *Verifier) takes(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return v.Scheme == "ed25519" || v.Scheme == "jwt"
	case *ecdsa.PublicKey:
		return v.Scheme == "ecdsa" && k.Curve == elliptic.P256() || v.Scheme == "jwt"
	case *rsa.PublicKey:
		return (v.Scheme == "rsa" || v.Scheme == "jwt") && k.N.BitLen() >= minRSA
	default:
		return false
	}
}
