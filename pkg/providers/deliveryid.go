package providers

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

var errNoDeliveryID = errors.New("setting the delivery id: this delivery bears none, its body is what tells it from others: change that")

// NewDeliveryID puts id where the pack reads the delivery id of d, and leaves
// all other bytes as they are, so that one delivery can be sent many times. The
// items of a batch get ids that begin with it. The signature has to be made
// after it. It is an error when d bears no id, or only the hash of its body.
func (w *Webhooks) NewDeliveryID(d *Delivery, id string) error {
	r, err := w.Read(d)
	if err != nil {
		return fmt.Errorf("setting the delivery id: %w", err)
	}
	for _, c := range w.DeliveryID {
		if _, ok := c.text(r.get, "/"); !ok && !c.has(sourceItem) && (len(c) > 1 || c[0].kind != sourceHeader) {
			continue
		}
		for _, s := range w.idParts(c) {
			done, err := r.replace(s, id)
			if err != nil {
				return fmt.Errorf("setting the delivery id: %w", err)
			}
			if done {
				return nil
			}
		}
	}
	return errNoDeliveryID
}

// idParts lists the parts of a composed id, those first that say nothing else
// of the event.
func (w *Webhooks) idParts(c Compose) []Source {
	used := map[string]bool{}
	for _, p := range w.places() {
		if !strings.HasPrefix(p.path, "webhooks.delivery_id") && !strings.HasPrefix(p.path, "webhooks.subject") && !strings.HasPrefix(p.path, "webhooks.order") {
			used[p.source.String()] = true
		}
	}
	var first, last []Source
	for _, s := range slices.Backward(c) {
		if used[s.String()] {
			last = append(last, s)
		} else {
			first = append(first, s)
		}
	}
	return append(first, last...)
}

// replace puts a text in the place of a source. It reports false where the
// delivery does not have it, but for headers and parameters of the URL.
func (r *Reading) replace(s Source, text string) (bool, error) {
	switch s.kind {
	case sourceHeader:
		if r.delivery.Header == nil {
			r.delivery.Header = http.Header{}
		}
		r.delivery.Header.Set(s.name, text)
		return true, nil
	case sourceQuery:
		r.delivery.URL = withQuery(r.delivery.URL, s.name, text)
		return true, nil
	case sourceItem:
		return r.replaceItems(s, text)
	case sourceJSON:
		if _, ok := r.get(s); !ok {
			return false, nil
		}
		return true, r.replaceJSON(r.spans[r.webhooks.pointers.slots[s.name]], text)
	case sourceForm:
		if _, ok := r.form.fields[s.name]; !ok {
			return false, nil
		}
		r.replaceField(s.name, text)
		return true, nil
	default:
		return false, nil
	}
}

// withQuery is a copy of u with another value of a parameter.
func withQuery(u *url.URL, name, text string) *url.URL {
	changed := url.URL{}
	if u != nil {
		changed = *u
	}
	query := changed.Query()
	query.Set(name, text)
	changed.RawQuery = query.Encode()
	return &changed
}

// replaceItems puts a text into each item of the batch, with a number from the
// second on.
func (r *Reading) replaceItems(s Source, text string) (bool, error) {
	pieces, err := r.pieces()
	if err != nil {
		return false, err
	}
	defer func() { r.item, r.outer = part{}, part{} }()
	type change struct {
		at   span
		text string
	}
	var changes []change
	for i, p := range pieces {
		if err := r.enter(p); err != nil {
			return false, err
		}
		if _, ok := r.get(s); !ok {
			return false, nil
		}
		at := r.item.spans[r.webhooks.items.slots[s.name]]
		offset := cap(r.doc) - cap(p.item) // an item is a part of the document
		at.start, at.end = at.start+offset, at.end+offset
		numbered := text
		if i > 0 {
			numbered += "-" + strconv.Itoa(i)
		}
		changes = append(changes, change{at, numbered})
	}
	for _, c := range slices.Backward(changes) { // from the end, so that places stay
		if err := r.replaceJSON(c.at, c.text); err != nil {
			return false, err
		}
	}
	return len(changes) > 0, nil
}

// replaceJSON puts a text in the place of a value in the JSON: a string, or a
// number where there was one and it still is one.
func (r *Reading) replaceJSON(at span, text string) error {
	encoded, err := encodeJSON(text)
	if err != nil {
		return err
	}
	if !at.quoted && isJSONNumber(text) {
		encoded = []byte(text)
	}
	doc := splice(r.doc, at, encoded)
	if field, ok := r.payloadField(); ok {
		r.replaceField(field, string(doc))
	} else {
		r.delivery.Body = doc
	}
	r.doc = doc
	return nil
}

// replaceField puts a text in the place of a form field's value.
func (r *Reading) replaceField(name, text string) {
	r.delivery.Body = splice(r.form.body, r.form.fields[name], []byte(url.QueryEscape(text)))
}

// splice returns a copy of doc with other bytes at a span.
func splice(doc []byte, at span, other []byte) []byte {
	return slices.Concat(doc[:at.start], other, doc[at.end:])
}

// Put sets the text of a source in a delivery, which has to have something there
// already if that is in the body.
func (w *Webhooks) Put(d *Delivery, to Source, text string) error {
	if d.Header == nil {
		d.Header = http.Header{}
	}
	return (&inspection{w: w, d: d, c: Check{}}).put(to, text)
}

// Text returns the text of a source in a delivery; of an item source that of the
// first item.
func (w *Webhooks) Text(d *Delivery, from Source) (string, bool) {
	in := &inspection{w: w, d: d, c: Check{}}
	if from.kind != sourceItem {
		return in.get(from)
	}
	var first string
	ok := in.eachItem(from, func(_ *inspection, text string) bool {
		if first == "" {
			first = text
		}
		return true
	})
	return first, ok
}

// VerifierFor returns the verifier that decides on a delivery, nil if none does.
func (w *Webhooks) VerifierFor(d *Delivery, c Check) *Verifier {
	in := &inspection{w: w, d: d, c: c}
	for _, v := range w.Verifiers {
		if v.applies(in) {
			return v
		}
	}
	return nil
}
