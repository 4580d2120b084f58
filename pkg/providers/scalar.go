package providers

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// scalarsOf reads the fields of a template from params. A parameter that is
// null is absent.
func scalarsOf(params map[string]any) func(field string) (string, bool) {
	return func(field string) (string, bool) {
		return scalar(params[strings.TrimPrefix(field, "params.")])
	}
}

// scalar is the text of a text, a number or a truth value.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}

// formOf writes params as a form: lists and objects as JSON, as Slack wants
// them, and null not at all.
func formOf(params map[string]any) (url.Values, error) {
	form := url.Values{}
	for name, v := range params {
		text, ok := scalar(v)
		if !ok && v != nil {
			raw, err := encodeJSON(v)
			if err != nil {
				return nil, err
			}
			text, ok = string(raw), true
		}
		if ok {
			form.Set(name, text)
		}
	}
	return form, nil
}

// isFieldValue reports whether a header can carry s: no control character but
// the tab.
func isFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
