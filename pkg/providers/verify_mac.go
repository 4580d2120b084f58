package providers

import "crypto/hmac"

// proveMAC finds the secret that made one of the signatures. It always tries
// all with all, so that its duration does not tell which was close.
func (v *Verifier) proveMAC(in *inspection) (int, error) {
	candidates, err := v.Signature.candidates(in, newHash(v.Hash)().Size())
	if err != nil {
		return 0, err
	}
	if err := v.settle(in); err != nil {
		return 0, err
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
			sum, err := v.sum(in, key, m)
			if err != nil {
				return 0, err
			}
			for _, c := range candidates {
				if hmac.Equal(sum, c) && found < 0 {
					found = i
				}
			}
		}
	}
	return proven(found, usable)
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
