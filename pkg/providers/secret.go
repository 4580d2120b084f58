package providers

import (
	"crypto/subtle"
	"fmt"
	"slices"
)

const redacted = "[redacted]"

// Secret holds a credential or a key. However it is printed, formatted,
// marshalled or logged, it shows as [redacted]; only Reveal gives it away. The
// zero value is no secret. It is immutable.
type Secret struct {
	// A function, because fmt prints no method of a value in an unexported
	// field, but looks into everything else.
	bytes func() []byte
}

// NewSecret makes a secret of a copy of b.
func NewSecret(b []byte) Secret {
	kept := slices.Clone(b)
	return Secret{bytes: func() []byte { return kept }}
}

// Reveal returns a copy of what is kept secret.
func (s Secret) Reveal() []byte { return slices.Clone(s.peek()) }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return len(s.peek()) == 0 }

// Equal compares in a time that depends on the lengths only.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare(s.peek(), other.peek()) == 1
}

func (s Secret) peek() []byte {
	if s.bytes == nil {
		return nil
	}
	return s.bytes()
}

// String returns [redacted].
func (s Secret) String() string { return redacted }

// GoString returns [redacted].
func (s Secret) GoString() string { return redacted }

// Format writes [redacted] for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns [redacted].
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalYAML returns [redacted].
func (s Secret) MarshalYAML() (any, error) { return redacted, nil }
