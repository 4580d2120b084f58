package providers

import (
	"bytes"
	"errors"
	"net/url"
)

// maxFormFields is how many fields a form may have.
const maxFormFields = 1000

// form is an application/x-www-form-urlencoded body that was looked over once.
type form struct {
	body   []byte
	fields map[string]span // :: name → its first value, as written
	count  int             // of fields, with those of the same name
}

// parseForm finds the fields. Their values are unescaped when they are asked for.
func parseForm(body []byte) (form, error) {
	f := form{body: body, fields: map[string]span{}}
	for pos, n := 0, 0; pos < len(body); n++ {
		if n == maxFormFields {
			return form{}, errors.New("too many form fields")
		}
		end := len(body)
		if i := bytes.IndexByte(body[pos:], '&'); i >= 0 {
			end = pos + i
		}
		if err := f.add(pos, end); err != nil {
			return form{}, err
		}
		if end > pos {
			f.count++
		}
		pos = end + 1
	}
	return f, nil
}

// add takes up the field that is written from start to end.
func (f form) add(start, end int) error {
	raw, value := f.body[start:end], end
	if len(raw) == 0 {
		return nil
	}
	if i := bytes.IndexByte(raw, '='); i >= 0 {
		raw, value = raw[:i], start+i+1
	}
	if len(raw) > maxValue {
		return errors.New("a form field with a name too long")
	}
	name, err := url.QueryUnescape(string(raw))
	if err != nil {
		return errors.New("a form field with a name not escaped well")
	}
	if _, ok := f.fields[name]; !ok {
		f.fields[name] = span{start: value, end: end}
	}
	return nil
}

// text returns the value of a field, false when it is absent, not escaped well
// or longer than limit bytes.
func (f form) text(name string, limit int) (string, bool) {
	s, ok := f.fields[name]
	if !ok || s.end-s.start > 3*limit {
		return "", false
	}
	text, err := url.QueryUnescape(string(f.body[s.start:s.end]))
	return text, err == nil && len(text) <= limit
}
