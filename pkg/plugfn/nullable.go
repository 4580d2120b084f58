package plugfn

import (
	"bytes"
	"encoding/json"
)

// Nullable is a parameter that may be left out, or be null, or have a value. The
// zero Nullable is left out, by the tag omitzero.
type Nullable[T any] struct {
	value T
	state nullableState
}

type nullableState uint8

const (
	isNull nullableState = iota + 1
	isValue
)

// Value is a parameter that has a value.
func Value[T any](v T) Nullable[T] { return Nullable[T]{value: v, state: isValue} }

// Null is a parameter that is null, which mostly says that there is to be none.
func Null[T any]() Nullable[T] { return Nullable[T]{state: isNull} }

// Get returns the value; false where there is none.
func (n Nullable[T]) Get() (T, bool) { return n.value, n.state == isValue }

// IsZero reports whether the parameter is left out.
func (n Nullable[T]) IsZero() bool { return n.state == 0 }

// MarshalJSON writes the value, or null.
func (n Nullable[T]) MarshalJSON() ([]byte, error) {
	if n.state != isValue {
		return []byte("null"), nil
	}
	return json.Marshal(n.value)
}

// UnmarshalJSON reads a value, or null.
func (n *Nullable[T]) UnmarshalJSON(text []byte) error {
	if bytes.Equal(bytes.TrimSpace(text), []byte("null")) {
		*n = Null[T]()
		return nil
	}
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	*n = Value(v)
	return nil
}
