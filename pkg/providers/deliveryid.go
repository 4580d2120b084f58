package providers

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

var errNoDeliveryID = errors.New("setting the delivery id: this delivery bears none, its body is what tells it from others: change that")

// NewDeliveryID puts id where the pack reads the delivery id of d, and leaves
// all other bytes as they are, so that one delivery can be sent many times. The
// signature has to be made after it. It is an error when d bears no id, or only
// the hash of its body.
func (w *Webhooks) NewDeliveryID(d *Delivery, id string) error {
	r, err := w.Read(d)
	if err != nil {
		return fmt.Errorf("setting the delivery id: %w", err)
	}
	for _, s := range w.DeliveryID {
		if s.kind == sourceHeader {
			if d.Header == nil {
				d.Header = http.Header{}
			}
			d.Header.Set(s.name, id)
			return nil
		}
		if _, ok := r.get(s); !ok {
			continue
		}
		switch s.kind {
		case sourceJSON:
			return r.replaceJSON(s, id)
		case sourceForm:
			r.replaceField(s.name, id)
			return nil
		default:
			return errNoDeliveryID
		}
	}
	return errNoDeliveryID
}

// replaceJSON puts a string in the place of a value in the JSON.
func (r *Reading) replaceJSON(s Source, text string) error {
	encoded, err := encodeJSON(text)
	if err != nil {
		return fmt.Errorf("setting the delivery id: %w", err)
	}
	doc := splice(r.doc, r.spans[r.webhooks.pointers.slots[s.name]], encoded)
	if field, ok := r.payloadField(); ok {
		r.replaceField(field, string(doc))
		return nil
	}
	r.delivery.Body = doc
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
