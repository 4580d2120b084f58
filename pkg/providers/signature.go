package providers

import (
	"crypto/sha1" //nolint:gosec // some senders sign with nothing better; HMAC-SHA1 is not broken
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// maxCandidates is how many signatures one header may hold.
const maxCandidates = 16

// newHash returns the constructor of a hash, nil for an unknown name.
func newHash(name string) func() hash.Hash {
	switch name {
	case "sha1":
		return sha1.New
	case "sha256":
		return sha256.New
	case "sha512":
		return sha512.New
	default:
		return nil
	}
}

// decodeKey returns the bytes of a key that is written in the given form. No
// key is empty: anybody can sign with that one.
func decodeKey(form string, secret Secret) ([]byte, error) {
	written := secret.Reveal()
	key := written
	var err error
	switch form {
	case "hex":
		key, err = hex.DecodeString(string(written))
	case "base64":
		key, err = base64.StdEncoding.DecodeString(string(written))
	case "whsec":
		key, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(string(written), "whsec_"))
	}
	if err != nil {
		return nil, fmt.Errorf("the secret is not written as %s", form) // err would show parts of it
	}
	if len(key) == 0 {
		return nil, errors.New("the secret is empty")
	}
	return key, nil
}

// values returns what of a header counts: all of it, its parts, or of key=value
// parts those of the key. ok is false when it has too many parts.
func values(header, split, pick string) (parts []string, ok bool) {
	parts = []string{header}
	if split != "" {
		if strings.Count(header, split) >= maxCandidates {
			return nil, false
		}
		parts = strings.Split(header, split)
	}
	picked := parts[:0]
	for _, p := range parts {
		p = strings.TrimSpace(p)
		if pick != "" {
			key, value, _ := strings.Cut(p, "=")
			if key != pick {
				continue
			}
			p = value
		}
		picked = append(picked, p)
	}
	return picked, true
}

// candidates returns the signatures in a header that have the declared form.
// Others, such as those of another version, do not count; it is an error when
// none is left.
func (s Signature) candidates(header string, size int) ([][]byte, error) {
	parts, ok := values(header, s.Split, s.Pick)
	if !ok {
		return nil, refused(ReasonMalformed)
	}
	var all [][]byte
	for _, p := range parts {
		encoded, ok := strings.CutPrefix(p, s.Prefix)
		if !ok {
			continue
		}
		if raw, err := s.decode(encoded); err == nil && len(raw) == size {
			all = append(all, raw)
		}
	}
	if len(all) == 0 {
		return nil, refused(ReasonMalformed)
	}
	return all, nil
}

func (s Signature) decode(text string) ([]byte, error) {
	switch s.Encoding {
	case "hex":
		return hex.DecodeString(text)
	case "base64":
		return base64.StdEncoding.Strict().DecodeString(text)
	default: // base64url, padded or not
		return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	}
}

// encode writes a signature as the header bears it.
func (s Signature) encode(sum []byte) string {
	var text string
	switch s.Encoding {
	case "hex":
		text = hex.EncodeToString(sum)
	case "base64":
		text = base64.StdEncoding.EncodeToString(sum)
	default:
		text = base64.RawURLEncoding.EncodeToString(sum)
	}
	return keyValue(s.Pick, s.Prefix+text)
}

// keyValue is the inverse of picking.
func keyValue(key, value string) string {
	if key == "" {
		return value
	}
	return key + "=" + value
}
