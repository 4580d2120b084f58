package providers

import (
	"crypto/hmac"
	"slices"
)

// proveMAC finds the secret that made one of the signatures. It always tries
// all with all, so that its duration does not tell which was close.
func (v *Verifier) proveMAC(in *inspection) (int, error) {
	candidates, err := v.Signature.candidates(in, hashID(v.Hash).Size())
	if err != nil {
		return 0, err
	}
	if err := v.settle(in); err != nil {
		return 0, err
	}
	if v.mayBeAnswer(in) {
		return 0, refused(ReasonMismatch)
	}
	found, usable := -1, false
	for i := range in.c.Secrets {
		key, ok := v.key(in, i)
		if !ok {
			continue
		}
		usable = true
		for _, m := range [...]Message{v.Message, v.OrMessage} {
			if m == nil {
				continue
			}
			err := in.eachChoice(m.secrets(), maxChoices, func() error {
				sum, err := v.sum(in, key, m)
				for _, c := range candidates {
					if hmac.Equal(sum, c) && found < 0 {
						found = i
					}
				}
				return err
			})
			if err != nil {
				return 0, err
			}
		}
	}
	return proven(found, usable)
}

// mayBeAnswer tells whether what is signed is what a handshake would sign for
// anybody who asks. Such a signature proves nothing, whoever made it.
func (v *Verifier) mayBeAnswer(in *inspection) bool {
	if len(v.answers) == 0 {
		return false
	}
	for _, m := range [...]Message{v.Message, v.OrMessage} {
		if m == nil || m.has(partBody, "raw") && len(in.d.Body) > maxEcho {
			continue
		}
		signed, err := m.bytes(in)
		if err == nil && slices.ContainsFunc(v.answers, func(charset string) bool { return isEchoable(string(signed), charset) }) {
			return true
		}
	}
	return false
}

// key is the i-th secret as a key of the verifier, if it is one.
func (v *Verifier) key(in *inspection, i int) ([]byte, bool) {
	written, ok := in.secret(i, v.Secret)
	if !ok {
		return nil, false
	}
	key, err := decodeKey(v.Key, written)
	return key, err == nil
}

// sum is the signature that key makes.
func (v *Verifier) sum(in *inspection, key []byte, m Message) ([]byte, error) {
	h := hmac.New(newHash(v.Hash), key)
	if err := m.write(h, in); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// proven is the outcome of trying the secrets.
func proven(found int, usable bool) (int, error) {
	switch {
	case !usable:
		return 0, refused(ReasonNoSecret)
	case found < 0:
		return 0, refused(ReasonMismatch)
	}
	return found, nil
}
