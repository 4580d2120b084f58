package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
)

const maxVaries = 8

// SameData reports whether two deliveries with the same id say the same: their
// data is the same byte for byte, or the same JSON but for what the pack says
// that differs from attempt to attempt.
func (w *Webhooks) SameData(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(w.Varies) == 0 {
		return false
	}
	left, err := lasting(a, w.Varies)
	if err != nil {
		return false
	}
	right, err := lasting(b, w.Varies)
	return err == nil && reflect.DeepEqual(left, right)
}

// lasting is a document without the members that pointers lead to.
func lasting(doc []byte, pointers []string) (any, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	for _, p := range pointers {
		tokens, err := parsePointer(p)
		if err != nil {
			return nil, err
		}
		last := len(tokens) - 1
		parent, _ := follow(v, tokens[:last])
		if object, ok := parent.(map[string]any); ok {
			delete(object, tokens[last])
		}
	}
	return v, nil
}

// checkVaries reports what is no pointer to a member.
func (w *Webhooks) checkVaries(r report) {
	if len(w.Varies) > maxVaries {
		r("webhooks.varies", "must have at most %d entries", maxVaries)
	}
	for i, p := range w.Varies {
		if tokens, err := parsePointer(p); err != nil || len(tokens) == 0 {
			r(item("webhooks.varies", i), "%q must be a JSON pointer to a member, such as /attempt", clip(p, 60))
		}
	}
}
