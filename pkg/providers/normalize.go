package providers

import (
	"errors"
	"strings"
	"time"
)

// Bounds in bytes of what a delivery may put into an event's attributes, which
// travel as headers of one message. What is longer is hashed where only
// equality matters, and left out otherwise.
const (
	maxID         = 256
	maxAttribute  = 512
	maxKeptHeader = 8 // headers that a pack may keep
)

// Normalized is what a delivery says about its event.
type Normalized struct {
	ID           string    // the sender's delivery id, or sha256-… of the body; at most 256 bytes
	Name         string    // such as issues.opened; any bytes, at most 4 KiB
	Type         string    // the pack's event prefix, a dot and Name
	Subject      string    // the provider's object, may be empty
	Account      string    // the provider's id of the account, "" when it does not say
	PartitionKey string    // events with the same key stay in order; may be empty
	Time         time.Time // when it happened; zero when it does not say
	ContentType  string
	Headers      map[string]string // :: CloudEvents extension name → value of a kept header
}

// Event makes the event that the delivery is. The error wraps ErrUnparsable: no
// event name, or a handshake that cannot be answered.
func (r *Reading) Event() (Normalized, error) {
	w := r.webhooks
	if r.handshake() != nil {
		return Normalized{}, unparsable(errors.New("a handshake"))
	}
	name, ok := r.compose(w.Event, ".", maxValue)
	if !ok {
		return Normalized{}, unparsable(errors.New("without an event name"))
	}
	id, ok := r.first(w.DeliveryID)
	if !ok {
		id = hashOf(r.delivery.Body)
	}
	n := Normalized{
		ID:          shorten(id),
		Name:        name,
		Type:        w.pack.EventPrefix + "." + name,
		Time:        r.time(),
		ContentType: r.contentType,
		Headers:     r.kept(),
	}
	n.Subject, _ = r.compose(w.Subject, "/", maxAttribute)
	account, _ := r.first(w.Account)
	n.Account = shorten(account)
	key, _ := r.first(w.Order)
	n.PartitionKey = shorten(key)
	return n, nil
}

// compose returns the first alternative that is whole and at most limit long.
func (r *Reading) compose(alternatives []Compose, separator string, limit int) (string, bool) {
	for _, c := range alternatives {
		if text, ok := c.text(r.get, separator); ok && len(text) <= limit {
			return text, true
		}
	}
	return "", false
}

// shorten hashes what is too long to be an id.
func shorten(text string) string {
	if len(text) > maxID {
		return hashOf([]byte(text))
	}
	return text
}

// time is the first time that can be read and that can be true.
func (r *Reading) time() time.Time {
	for _, s := range r.webhooks.Time {
		text, ok := r.get(s.From)
		if !ok {
			continue
		}
		if t, ok := parseTime(text, s.Format); ok && t.Year() >= 2000 && t.Year() <= 2100 {
			return t.UTC()
		}
	}
	return time.Time{}
}

func (r *Reading) kept() map[string]string {
	kept := map[string]string{}
	for _, name := range r.webhooks.KeepHeader {
		if v := r.delivery.Header.Get(name); v != "" && len(v) <= maxAttribute {
			kept[extensionName(name)] = v
		}
	}
	return kept
}

// extensionName makes a CloudEvents attribute name of a header name: without a
// leading X-, and of lower-case letters and digits only.
func extensionName(header string) string {
	lower := strings.TrimPrefix(strings.ToLower(header), "x-")
	return strings.Map(func(c rune) rune {
		if c < 0x80 && isAlphanumeric(byte(c)) {
			return c
		}
		return -1
	}, lower)
}
