// Package id makes identifiers: a prefix that says what is meant, an
// underscore, and a UUIDv7 in 26 characters of lower-case Crockford base32, as
// in con_01kav8z6c5fn1rx8ye0a0wq3jb (the TypeID form).
//
// Guarantees: an id is unique; it needs no escaping in a NATS subject, a key
// or a URL; ids of one prefix sort by the time at which they were made, and
// those of one process strictly in the order of the calls.
//
// Allowed imports: the standard library, google/uuid. Nothing of this module.
package id

import "github.com/google/uuid"

const (
	// Size is the length in bytes of what follows the underscore.
	Size = 26

	alphabet = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford: without i, l, o, u
)

// New returns a new id with the given prefix, such as "con". It is safe for
// concurrent use.
func New(prefix string) string {
	return prefix + "_" + encode(uuid.Must(uuid.NewV7())) // fails only with the system's random source, which ends the program anyway
}

// encode writes the 128 bits of u as 26 digits of 5 bits, most significant
// first. The first digit holds the 3 bits that are left over.
func encode(u uuid.UUID) string {
	var out [Size]byte
	var bits uint16 // not yet written, right-aligned
	n := 2          // how many: two zero bits fill up the first digit
	next := 0
	for _, b := range u {
		bits = bits<<8 | uint16(b)
		n += 8
		for n >= 5 {
			n -= 5
			out[next] = alphabet[bits>>n&31]
			next++
		}
	}
	return string(out[:])
}
