package providers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
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
	textType = "text/plain"
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

	item, outer part // of the batch, while its events are made
}

// part is a part of the JSON that was looked over for pointers of its own.
type part struct {
	doc   []byte
	spans []span
}

// Read looks over the body of a verified delivery. The content type decides the
// form of the body; a body without one that looks like JSON is JSON. The error
// is ErrContentType or wraps ErrUnparsable.
func (w *Webhooks) Read(d *Delivery) (*Reading, error) {
	if len(d.Body) == 0 && slices.Contains(w.Bodies, "none") {
		return &Reading{webhooks: w, delivery: d}, nil
	}
	contentType, err := d.contentType()
	if err != nil {
		return nil, err
	}
	r := &Reading{webhooks: w, delivery: d, contentType: contentType}
	switch {
	case contentType == formType:
		err = r.readForm()
	case contentType == textType && slices.Contains(w.Bodies, "text"):
		r.contentType = jsonType // it is JSON, whatever its sender calls it
		err = r.readJSON(d.Body)
	case contentType != textType && slices.Contains(w.Bodies, "json"):
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
	switch {
	case header == jsonType, header == formType:
		return header, nil
	case header == "" && looksJSON(d.Body):
		return jsonType, nil
	}
	t, _, err := mime.ParseMediaType(header)
	known := t == formType || t == jsonType || t == textType || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")
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
	case sourceJSON, sourceHost:
		slot, known := r.webhooks.pointers.slots[s.name]
		if known && r.doc != nil {
			text, ok = r.spans[slot].text(r.doc)
		}
		if s.kind == sourceHost && ok {
			text, ok = hostIn(text)
		}
	case sourceForm:
		text, ok = r.form.text(s.name, maxValue)
	case sourceQuery:
		text, ok = firstText(r.delivery.queries(s.name))
		ok = ok && len(text) <= maxValue
	case sourceItem:
		text, ok = r.item.text(&r.webhooks.items, s.name)
	case sourceOuter:
		text, ok = r.outer.text(&r.webhooks.outers, s.name)
	case sourcePresent:
		text, ok = r.presentName(s.name)
	case sourceText:
		text, ok = s.name, true
	case sourceHash:
		text, ok = hashOf(r.delivery.Body), true
	case sourceReceived:
		text, ok = stepOf(r.delivery.ReceivedAt, s.name)
	}
	return text, ok && text != ""
}

// hostIn returns the host name of an absolute URL, in lower case.
func hostIn(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	return host, host != ""
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

// text is the value at a pointer of the part.
func (p part) text(set *pointerSet, pointer string) (string, bool) {
	slot, known := set.slots[pointer]
	if !known || p.spans == nil {
		return "", false
	}
	return p.spans[slot].text(p.doc)
}

// presentName is the last name of the first pointer of a list that leads to
// anything.
func (r *Reading) presentName(list string) (string, bool) {
	if r.doc == nil {
		return "", false
	}
	for pointer := range strings.SplitSeq(list, ",") {
		slot, known := r.webhooks.pointers.slots[pointer]
		if known && r.spans[slot].end > 0 {
			tokens, err := parsePointer(pointer)
			return tokens[len(tokens)-1], err == nil
		}
	}
	return "", false
}

// stepOf counts the steps of a length since 1970.
func stepOf(at time.Time, step string) (string, bool) {
	length, err := time.ParseDuration(step)
	if err != nil || length < time.Second {
		return "", false
	}
	return strconv.FormatInt(at.Unix()/int64(length/time.Second), 10), true
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256-" + hex.EncodeToString(sum[:])
}
