package providers

import (
	"crypto/subtle"
	"encoding/base64"
)

// proveToken compares a token with the secrets, in a time that does not depend
// on how much of it is right.
func (v *Verifier) proveToken(in *inspection) (int, error) {
	if v.Signature.From[0].kind == sourceItem {
		return v.proveItems(in)
	}
	tokens, err := v.Signature.texts(in)
	if err != nil {
		return 0, err
	}
	if err := v.settle(in); err != nil {
		return 0, err
	}
	found, usable := v.match(in, tokens)
	return proven(found, usable)
}

func (v *Verifier) match(in *inspection, tokens []string) (found int, usable bool) {
	found = -1
	for i := range in.c.Secrets {
		written, ok := in.secret(i, v.Secret)
		if !ok || len(written) == 0 {
			continue
		}
		usable = true
		for _, token := range tokens {
			if subtle.ConstantTimeCompare([]byte(token), written) == 1 && found < 0 {
				found = i
			}
		}
	}
	return found, usable
}

// proveItems wants the token in each item of the batch.
func (v *Verifier) proveItems(in *inspection) (int, error) {
	if err := v.settle(in); err != nil {
		return 0, err
	}
	found, usable := -1, false
	all := in.eachItem(v.Signature.From[0], func(in *inspection, token string) bool {
		found, usable = v.match(in, []string{token})
		return found >= 0
	})
	if !all {
		found = -1
		_, usable = v.match(in, nil)
	}
	return proven(found, usable)
}

// proveBasic compares user and password with the secrets, which are written as
// user:password.
func (v *Verifier) proveBasic(in *inspection) (int, error) {
	encoded, err := v.Signature.texts(in)
	if err != nil {
		return 0, err
	}
	pair, err := base64.StdEncoding.Strict().DecodeString(encoded[0])
	if err != nil {
		return 0, refused(ReasonMalformed)
	}
	if err := v.settle(in); err != nil {
		return 0, err
	}
	found, usable := v.match(in, []string{string(pair)})
	return proven(found, usable)
}

func (v *Verifier) proveNetwork(in *inspection) (int, error) {
	if !in.d.Peer.IsValid() || !inNetworks(v.Networks, in.d.Peer) {
		return 0, refused(ReasonNetwork)
	}
	return -1, v.settle(in)
}

func (v *Verifier) proveNone(in *inspection) (int, error) {
	if !in.c.AllowNone {
		return 0, refused(ReasonUnsigned)
	}
	return -1, v.settle(in)
}
