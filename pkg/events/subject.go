package events

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// The subject prefixes of the wire contract. Every subject that PlugFn uses
// starts with one of them.
const (
	PrefixAction     = "plugfn.action."
	PrefixCall       = "plugfn.call."
	PrefixResult     = "plugfn.result."
	PrefixEvent      = "plugfn.event."
	PrefixConnection = "plugfn.connection."
	PrefixRun        = "plugfn.run."
	PrefixDead       = "plugfn.dead."
	PrefixLater      = "plugfn.later."
	PrefixDue        = "plugfn.due."
	PrefixService    = "plugfn.svc."
	PrefixAudit      = "plugfn.audit."
	PrefixPayload    = "plugfn.payload."
)

// The streams that keep what is published under those prefixes.
const (
	StreamActions = "PLUGFN_ACTIONS"
	StreamResults = "PLUGFN_RESULTS"
	StreamEvents  = "PLUGFN_EVENTS"
	StreamRuns    = "PLUGFN_RUNS"
	StreamDead    = "PLUGFN_DEAD"
	StreamLater   = "PLUGFN_LATER"
	StreamAudit   = "PLUGFN_AUDIT"
	// StreamPayloads keeps data that is too long for one message, see [Payloads].
	StreamPayloads = "PLUGFN_PAYLOADS"
)

const (
	// MaxSubject is the longest subject in bytes that PlugFn publishes to.
	MaxSubject = 255
	// NoUser is the token that stands for no user or an unknown one.
	NoUser = "_"

	maxToken = 64  // bytes of one token
	maxName  = 100 // bytes of a dotted name: leaves room for prefix, user and provider
	hashMark = "h-"
)

// Token turns any string into one NATS token of at most 64 bytes.
//
// Bytes in [A-Za-z0-9_-] stay, every other byte becomes =XX (hex). A token
// that would be longer than 64 bytes becomes h- and 16 hex digits of the
// SHA-256 of s. The empty string becomes "_".
//
// Two different strings give two different tokens, but for collisions of the
// shortened hash: a literal "_" and a literal that starts like a hash are
// escaped, so nobody can pick an id that stands for someone else's.
func Token(s string) string {
	if s == "" {
		return NoUser
	}
	if s == NoUser {
		return "=5F"
	}
	if isToken(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		plain := isTokenByte(c) && !(i == 0 && strings.HasPrefix(s, hashMark))
		if plain {
			b.WriteByte(c)
		} else {
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'=', digits[c>>4], digits[c&15]})
		}
		if b.Len() > maxToken {
			return hashToken(s)
		}
	}
	return b.String()
}

// isToken tells whether nothing of s needs an escape.
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != "" && s != NoUser && len(s) <= maxToken && !strings.HasPrefix(s, hashMark)
}

// Untoken gives back the string that Token escaped. It reports false for a
// hashed or malformed token, whose full value travels in a header.
func Untoken(token string) (string, bool) {
	if token == NoUser {
		return "", true
	}
	if token == "" || strings.HasPrefix(token, hashMark) {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		switch c := token[i]; {
		case isTokenByte(c):
			b.WriteByte(c)
		case c == '=' && i+2 < len(token):
			raw, err := hex.DecodeString(token[i+1 : i+3])
			if err != nil {
				return "", false
			}
			b.WriteByte(raw[0])
			i += 2
		default:
			return "", false
		}
	}
	s := b.String()
	return s, Token(s) == token
}

// Name turns a dotted action or event name into tokens: a dot separates
// tokens, each part is escaped by [Token]. A name that would be longer than
// 100 bytes keeps its first token and hashes the whole, so that a wildcard on
// the first token still matches.
func Name(s string) string {
	if isName(s) {
		return s
	}
	parts := strings.Split(s, ".")
	n := 0
	for i, p := range parts {
		parts[i] = Token(p)
		n += len(parts[i]) + 1
	}
	if n-1 > maxName {
		return parts[0] + "." + hashToken(s)
	}
	return strings.Join(parts, ".")
}

// isName tells whether s is a name of tokens already.
func isName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !isToken(part) {
			return false
		}
	}
	return len(s) <= maxName
}

// unname gives back the dotted name, false where a part of it was hashed.
func unname(tokens string) (string, bool) {
	parts := strings.Split(tokens, ".")
	for i, p := range parts {
		s, ok := Untoken(p)
		if !ok {
			return "", false
		}
		parts[i] = s
	}
	return strings.Join(parts, "."), true
}

// ActionSubject is where an application publishes a request for an action.
func ActionSubject(user, provider, action string) string {
	return PrefixAction + Token(user) + "." + Token(provider) + "." + Name(action)
}

// CallSubject is where an application requests an action and waits for its
// result in the reply.
func CallSubject(user, provider, action string) string {
	return PrefixCall + Token(user) + "." + Token(provider) + "." + Name(action)
}

// EventSubject is where an event is published.
func EventSubject(user, provider, event string) string {
	return PrefixEvent + Token(user) + "." + Token(provider) + "." + Name(event)
}

// ResultSubject is where the one result of the request id is published.
func ResultSubject(user, provider string, outcome Outcome, id string) string {
	return PrefixResult + Token(user) + "." + Token(provider) + "." + Token(string(outcome)) + "." + Token(id)
}

// ConnectionSubject is where a change of a connection is announced.
func ConnectionSubject(user, provider string, change Change) string {
	return PrefixConnection + Token(user) + "." + Token(provider) + "." + Token(string(change))
}

// AuditSubject is where it is noted that something was done with a connection.
// An empty what stands for anything, to subscribe.
func AuditSubject(user, provider, connectionID, what string) string {
	if what != "" {
		what = Token(what)
	} else {
		what = "*"
	}
	return PrefixAudit + Token(user) + "." + Token(provider) + "." + Token(connectionID) + "." + what
}

// DeadSubject is where what was given up is kept. kind is "action", "event" or
// "run"; name is the provider and the dotted name of what it was.
func DeadSubject(kind, user, provider, name string) string {
	return PrefixDead + Token(kind) + "." + Token(user) + "." + Token(provider) + "." + Name(name)
}

// LaterSubject holds the schedule that fires at DueSubject. One schedule per
// subject: publishing again replaces it.
func LaterSubject(kind, user, id string) string {
	return PrefixLater + Token(kind) + "." + Token(user) + "." + Token(id)
}

// DueSubject is where a schedule of LaterSubject fires.
func DueSubject(kind, user string) string {
	return PrefixDue + Token(kind) + "." + Token(user)
}

// Key joins tokens to a key of a NATS key-value bucket. Tokens use only bytes
// that such a key may hold.
func Key(parts ...string) string {
	tokens := make([]string, len(parts))
	for i, p := range parts {
		tokens[i] = Token(p)
	}
	return strings.Join(tokens, ".")
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func hashToken(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hashMark + hex.EncodeToString(sum[:8])
}
