package providers

import (
	"crypto"
	"crypto/sha1" //nolint:gosec // some senders sign with nothing better; HMAC-SHA1 is not broken
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
)

// maxCandidates is how many signatures one delivery may hold.
const maxCandidates = 16

// maxSignature is the longest signature in bytes: RSA with 8192 bits.
const maxSignature = 1 << 10

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

// hashID is what package crypto calls a hash.
func hashID(name string) crypto.Hash {
	switch name {
	case "sha1":
		return crypto.SHA1
	case "sha256":
		return crypto.SHA256
	default:
		return crypto.SHA512
	}
}

// values returns what of a text counts: all of it, its parts, or of key=value
// parts those of the key. ok is false when it has too many parts.
func values(text, split, pick string) (parts []string, ok bool) {
	parts = []string{text}
	if split != "" {
		if strings.Count(text, split) >= maxCandidates {
			return nil, false
		}
		parts = strings.Split(text, split)
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

// texts returns the candidates of a delivery as they are written, without
// prefix. Those of another form, such as of another version, do not count; it is
// an error when none is left.
func (s *Signature) texts(in *inspection) ([]string, error) {
	var all []string
	for _, from := range s.From {
		if len(s.From) > 1 && !in.present(from) {
			continue
		}
		text, err := in.only(from)
		if err != nil {
			return nil, err
		}
		parts, ok := values(text, s.Split, s.Pick)
		if !ok || len(all)+len(parts) > maxCandidates {
			return nil, refused(ReasonMalformed)
		}
		for _, p := range parts {
			if encoded, ok := strings.CutPrefix(p, s.Prefix); ok && encoded != "" {
				all = append(all, encoded)
			}
		}
	}
	if len(all) == 0 {
		return nil, refused(ReasonMalformed)
	}
	return all, nil
}

// candidates returns the signatures of a delivery. size is that of each, 0: any.
func (s *Signature) candidates(in *inspection, size int) ([][]byte, error) {
	texts, err := s.texts(in)
	if err != nil {
		return nil, err
	}
	all := make([][]byte, 0, len(texts))
	for _, text := range texts {
		raw, err := decode(s.Encoding, text)
		if err == nil && (len(raw) == size || size == 0 && len(raw) <= maxSignature) {
			all = append(all, raw)
		}
	}
	if len(all) == 0 {
		return nil, refused(ReasonMalformed)
	}
	return all, nil
}

// decode reads bytes that are written as text.
func decode(encoding, text string) ([]byte, error) {
	switch encoding {
	case "hex":
		return hex.DecodeString(text)
	case "base64":
		if strings.ContainsAny(text, "\r\n") { // which the decoder would skip
			return nil, errors.New("a line break in base64")
		}
		return base64.StdEncoding.Strict().DecodeString(text)
	case "raw":
		return []byte(text), nil
	default: // base64url, padded or not
		if strings.ContainsAny(text, "\r\n") {
			return nil, errors.New("a line break in base64")
		}
		return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	}
}

// encode is the inverse of decode.
func encode(encoding string, raw []byte) string {
	switch encoding {
	case "hex":
		return hex.EncodeToString(raw)
	case "base64":
		return base64.StdEncoding.EncodeToString(raw)
	case "raw":
		return string(raw)
	default:
		return base64.RawURLEncoding.EncodeToString(raw)
	}
}

// keyValue is the inverse of picking.
func keyValue(key, value string) string {
	if key == "" {
		return value
	}
	return key + "=" + value
}
