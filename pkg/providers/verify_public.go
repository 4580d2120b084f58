package providers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"math/big"
	"slices"
	"strings"
)

// provePublic finds the key that one of the signatures is of.
func (v *Verifier) provePublic(ctx context.Context, in *inspection) (int, error) {
	candidates, err := v.Signature.candidates(in, v.signatureSize())
	if err != nil {
		return 0, err
	}
	if err := v.settle(in); err != nil {
		return 0, err
	}
	if v.Certificate != nil {
		key, err := v.Certificate.key(ctx, in)
		if err != nil {
			return 0, err
		}
		ok, err := v.signedBy(in, key, candidates)
		if err == nil && !ok {
			err = refused(ReasonMismatch)
		}
		return -1, err
	}
	found, usable := -1, false
	for i := range in.c.Secrets {
		written, ok := in.secret(i, v.Secret)
		if !ok {
			continue
		}
		key, err := v.publicKey(written)
		if err != nil {
			continue
		}
		usable = true
		ok, err = v.signedBy(in, key, candidates)
		if err != nil {
			return 0, err
		}
		if ok && found < 0 {
			found = i
		}
	}
	return proven(found, usable)
}

// signatureSize is that of each signature in bytes, 0 when it varies.
func (v *Verifier) signatureSize() int {
	if v.Scheme == "ed25519" || v.Signature.Form == "raw" {
		return ed25519.SignatureSize // and that of r and s of P-256
	}
	return 0
}

// signedBy tells whether one of the signatures is made with the key.
func (v *Verifier) signedBy(in *inspection, key crypto.PublicKey, candidates [][]byte) (bool, error) {
	if !v.takes(key) {
		return false, refused(ReasonUnknownKey)
	}
	for _, m := range [...]Message{v.Message, v.OrMessage} {
		if m == nil {
			continue
		}
		found := false
		err := in.eachChoice(m.secrets(), maxChoices, func() error {
			if found {
				return nil
			}
			signed, err := v.signed(in, m)
			found = err == nil && slices.ContainsFunc(candidates, func(c []byte) bool { return v.matches(key, signed, c) })
			return err
		})
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// signed is what the key is put to: the message, or its hash.
func (v *Verifier) signed(in *inspection, m Message) ([]byte, error) {
	if v.Scheme == "ed25519" {
		return m.bytes(in)
	}
	h := newHash(v.Hash)()
	err := m.write(h, in)
	return h.Sum(nil), err
}

func (v *Verifier) matches(key crypto.PublicKey, signed, signature []byte) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, signed, signature)
	case *ecdsa.PublicKey:
		if v.Signature.Form != "raw" {
			return ecdsa.VerifyASN1(k, signed, signature)
		}
		half := len(signature) / 2
		return ecdsa.Verify(k, signed, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, hashID(v.Hash), signed, signature) == nil
	default:
		return false
	}
}

// key fetches the key of the certificate that the delivery names, if it is
// where the pack allows it to be.
func (c *Certificate) key(ctx context.Context, in *inspection) (crypto.PublicKey, error) {
	address, err := in.only(c.From)
	if err != nil {
		return nil, err
	}
	if !allowed(address, c.Hosts) || strings.Contains(address, "?") { // with which one certificate has any number of addresses
		return nil, refused(ReasonUnknownKey)
	}
	if in.c.Keys == nil {
		return nil, refused(ReasonNoKeys)
	}
	certificate, err := in.c.Keys.Certificate(ctx, address)
	if err != nil {
		return nil, keyRefusal(err)
	}
	if at := in.d.ReceivedAt; at.Before(certificate.NotBefore) || at.After(certificate.NotAfter) {
		return nil, refused(ReasonUnknownKey)
	}
	return certificate.PublicKey, nil
}

// keyRefusal says what it means that a key was not found.
func keyRefusal(err error) error {
	if errors.Is(err, ErrNoKey) {
		return refused(ReasonUnknownKey)
	}
	return refused(ReasonNoKeys)
}
