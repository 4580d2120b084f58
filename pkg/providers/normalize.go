package providers

import (
	"errors"
	"strconv"
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

// Normalized is what a delivery says about one event.
type Normalized struct {
	ID           string    // the sender's id of the delivery or of the item, or sha256-… of the body; at most 256 bytes
	Name         string    // such as issues.opened; any bytes, at most 4 KiB
	Type         string    // the pack's event prefix, a dot and Name
	Subject      string    // the provider's object, may be empty
	Account      string    // the provider's id of the account, "" when it does not say
	PartitionKey string    // events with the same key stay in order; may be empty
	Time         time.Time // when it happened; zero when it does not say
	Cause        string    // what led to the write of PlugFn's that it tells of, see [Mark]; may be empty
	ContentType  string
	Headers      map[string]string // :: CloudEvents extension name → value of a kept header
	Data         []byte            // the delivery's body, or the item of it; shared, not to be changed
}

// Events makes the events that the delivery is: one, or as many as a batch has
// items, none for an empty one, which is a ping. The error wraps ErrUnparsable:
// no event name, no list where the items should be, or a handshake that cannot
// be answered. Then there are no events at all.
func (r *Reading) Events() ([]Normalized, error) {
	if r.webhooks.Batch == nil {
		n, err := r.Event()
		if err != nil {
			return nil, err
		}
		return []Normalized{n}, nil
	}
	if r.IsHandshake() {
		return nil, unparsable(errors.New("a handshake"))
	}
	pieces, err := r.pieces()
	if err != nil {
		return nil, err
	}
	defer func() { r.item, r.outer = part{}, part{} }()
	all := make([]Normalized, len(pieces))
	for i, p := range pieces {
		if err := r.enter(p); err != nil {
			return nil, err
		}
		if all[i], err = r.event(i); err != nil {
			return nil, err
		}
		all[i].Data, all[i].ContentType = r.item.doc, jsonType
		all[i].Cause = r.webhooks.causeOf(r.item.doc)
	}
	return all, nil
}

// Event makes the event that the delivery is; of a batch the first. The error
// wraps ErrUnparsable: no event name, or a handshake that cannot be answered.
func (r *Reading) Event() (Normalized, error) {
	if r.webhooks.Batch != nil {
		all, err := r.Events()
		if err == nil && len(all) == 0 {
			err = unparsable(errors.New("an empty batch"))
		}
		if err != nil {
			return Normalized{}, err
		}
		return all[0], nil
	}
	if r.IsHandshake() {
		return Normalized{}, unparsable(errors.New("a handshake"))
	}
	return r.event(0)
}

// event makes the event of the delivery, or of the item that was entered.
func (r *Reading) event(index int) (Normalized, error) {
	w := r.webhooks
	name, ok := r.compose(w.Event, ".", maxValue)
	name = w.EventNames.apply(name)
	if !ok || name == "" {
		return Normalized{}, unparsable(errors.New("without an event name"))
	}
	n := Normalized{
		ID:          r.id(index),
		Name:        name,
		Type:        w.pack.EventPrefix + "." + name,
		Time:        r.time(),
		ContentType: r.contentType,
		Headers:     r.kept(),
		Data:        r.delivery.Body,
	}
	n.Subject, _ = r.compose(w.Subject, "/", maxAttribute)
	account, _ := r.first(w.Account)
	n.Account = shorten(account)
	key, _ := r.first(w.Order)
	n.PartitionKey = shorten(key)
	if w.Batch == nil {
		n.Cause = w.causeOf(n.Data)
	}
	return n, nil
}

// apply makes a name of PlugFn of a provider's.
func (n EventNames) apply(name string) string {
	name = strings.TrimPrefix(name, n.Without)
	for _, c := range n.Dots {
		name = strings.ReplaceAll(name, string(c), ".")
	}
	return name
}

// id is the id of the event: the sender's, and for an item of a batch that has
// none of its own that of the delivery with the index.
func (r *Reading) id(index int) string {
	for _, c := range r.webhooks.DeliveryID {
		text, ok := c.text(r.get, "/")
		if !ok {
			continue
		}
		if r.webhooks.Batch != nil && !c.has(sourceItem) {
			return shorten(text + "." + strconv.Itoa(index))
		}
		return shorten(text)
	}
	if r.webhooks.Batch != nil {
		return hashOf(r.delivery.Body) + "." + strconv.Itoa(index)
	}
	return hashOf(r.delivery.Body)
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
	var kept map[string]string
	for _, name := range r.webhooks.KeepHeader {
		if v := r.delivery.Header.Get(name); v != "" && len(v) <= maxAttribute {
			if kept == nil {
				kept = make(map[string]string, len(r.webhooks.KeepHeader))
			}
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
