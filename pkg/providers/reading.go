package providers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"
)

var (
	// ErrContentType says that a body has a content type that the provider does
	// not send.
	ErrContentType = errors.New("content type is not one that the provider sends")
	// ErrUnparsable says that a genuine delivery makes no event: sending it again
	// will not help, so it is kept for a person to look at.
	ErrUnparsable = errors.New("delivery makes no event")
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
	// maxContentType is the longest content type in bytes that is taken for one.
	maxContentType = 128
)

// Reading is a delivery whose body was looked over. It shares the body.
type Reading struct {
	webhooks    *Webhooks
	delivery    *Delivery
	contentType string
	form        form
	doc         []byte // the JSON, nil when there is none
	spans       []span // of the values in doc, by slot
}

// Read looks over the body of a verified delivery. The content type decides the
// form of the body; a body without one that looks like JSON is JSON. The error
// is ErrContentType or wraps ErrUnparsable.
func (w *Webhooks) Read(d *Delivery) (*Reading, error) {
	contentType, err := d.contentType()
	if err != nil {
		return nil, err
	}
	r := &Reading{webhooks: w, delivery: d, contentType: contentType}
	switch {
	case contentType == formType:
		err = r.readForm()
	case slices.Contains(w.Bodies, "json"):
		err = r.readJSON(d.Body)
	default:
		err = ErrContentType
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// contentType is the media type of the body, without parameters.
func (d *Delivery) contentType() (string, error) {
	header := d.Header.Get("Content-Type")
	if header == "" && looksJSON(d.Body) {
		return jsonType, nil
	}
	t, _, err := mime.ParseMediaType(header)
	known := t == formType || t == jsonType || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")
	if err != nil || !known || len(t) > maxContentType {
		return "", ErrContentType
	}
	return t, nil
}

// looksJSON tells whether a body begins like an object or a list.
func looksJSON(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// readForm looks over a form. The content type is not signed: somebody who
// replays a signed JSON body as a form could choose which text of it is taken
// for a field, so what looks like JSON is no form.
func (r *Reading) readForm() error {
	bodies := r.webhooks.Bodies
	if !slices.ContainsFunc(bodies, isForm) {
		return ErrContentType
	}
	if looksJSON(r.delivery.Body) {
		return unparsable(errors.New("a form that looks like JSON"))
	}
	var err error
	if r.form, err = parseForm(r.delivery.Body); err != nil {
		return unparsable(err)
	}
	if field, ok := r.payloadField(); ok {
		text, ok := r.form.text(field, len(r.delivery.Body))
		if !ok {
			return unparsable(errors.New("a form field that is not escaped well"))
		}
		return r.readJSON([]byte(text))
	}
	if !slices.Contains(bodies, "form") {
		return unparsable(errors.New("a form without the field that holds the JSON"))
	}
	return nil
}

func isForm(body string) bool { return body == "form" || strings.HasPrefix(body, "form:") }

// payloadField is the first field of the form that the pack says to hold JSON.
func (r *Reading) payloadField() (string, bool) {
	for _, b := range r.webhooks.Bodies {
		field, ok := strings.CutPrefix(b, "form:")
		if !ok {
			continue
		}
		if _, ok := r.form.fields[field]; ok {
			return field, true
		}
	}
	return "", false
}

func (r *Reading) readJSON(doc []byte) error {
	var err error
	if r.spans, err = r.webhooks.pointers.scan(doc); err != nil {
		return unparsable(err)
	}
	r.doc = doc
	return nil
}

func unparsable(err error) error { return fmt.Errorf("%w: %w", ErrUnparsable, err) }

// get returns the text that a source leads to; false when it is absent, empty
// or longer than maxValue.
func (r *Reading) get(s Source) (string, bool) {
	var text string
	var ok bool
	switch s.kind {
	case sourceHeader:
		text = r.delivery.Header.Get(s.name)
		ok = len(text) <= maxValue
	case sourceJSON:
		slot, known := r.webhooks.pointers.slots[s.name]
		if known && r.doc != nil {
			text, ok = r.spans[slot].text(r.doc)
		}
	case sourceForm:
		text, ok = r.form.text(s.name, maxValue)
	case sourceQuery:
		text = r.delivery.query(s.name)
		ok = len(text) <= maxValue
	case sourceText:
		text, ok = s.name, true
	case sourceHash:
		text, ok = hashOf(r.delivery.Body), true
	}
	return text, ok && text != ""
}

// first returns the text of the first source that is present.
func (r *Reading) first(sources []Source) (string, bool) {
	for _, s := range sources {
		if text, ok := r.get(s); ok {
			return text, true
		}
	}
	return "", false
}

func (d *Delivery) query(name string) string {
	if d.URL == nil {
		return ""
	}
	return d.URL.Query().Get(name)
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256-" + hex.EncodeToString(sum[:])
}
