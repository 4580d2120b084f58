package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxTexts is how many bytes the texts have that one run makes.
const MaxTexts = 1 << 20

// What + becomes. Neither can be written by a person.
const (
	joinName = "·join"
	addName  = "·add"
)

// meter counts the texts that one run makes. Each is made by one of its
// functions.
type meter struct{ left int }

func functionNames() []string { return slices.Sorted(maps.Keys((&meter{}).functions())) }

func (m *meter) functions() map[string]any {
	return map[string]any{
		"upper":    func(v any) (string, error) { return m.change("upper", v, strings.ToUpper) },
		"lower":    func(v any) (string, error) { return m.change("lower", v, strings.ToLower) },
		"trim":     func(v any) (string, error) { return m.change("trim", v, strings.TrimSpace) },
		"replace":  m.replace,
		"split":    m.split,
		"join":     m.join,
		"string":   m.text,
		"toJSON":   m.toJSON,
		"fromJSON": m.fromJSON,
		joinName:   m.concat,
		addName:    m.add,
	}
}

func (m *meter) take(bytes int) error {
	if m.left -= bytes; m.left < 0 {
		return fmt.Errorf("makes texts of more than %d bytes", MaxTexts)
	}
	return nil
}

func (m *meter) change(name string, v any, change func(string) string) (string, error) {
	text, err := textOf(name, v)
	if err != nil {
		return "", err
	}
	return change(text), m.take(len(text))
}

func (m *meter) replace(v any, from, to string) (string, error) {
	text, err := textOf("replace", v)
	if err != nil {
		return "", err
	}
	longest := len(text) + strings.Count(text, from)*max(0, len(to)-len(from))
	if err := m.take(longest); err != nil {
		return "", err
	}
	return strings.ReplaceAll(text, from, to), nil
}

// split counts a header for each part as well.
func (m *meter) split(v any, separator string) ([]any, error) {
	const header = 16
	text, err := textOf("split", v)
	if err != nil {
		return nil, err
	}
	if err := m.take(len(text) + header*(strings.Count(text, separator)+1)); err != nil {
		return nil, err
	}
	parts := strings.Split(text, separator)
	list := make([]any, len(parts))
	for i, part := range parts {
		list[i] = part
	}
	return list, nil
}

func (m *meter) join(v any, separator string) (string, error) {
	list, ok := v.([]any)
	if !ok {
		return "", fmt.Errorf("join wants a list, got %s", Describe(v))
	}
	parts := make([]string, len(list))
	for i, item := range list {
		text, err := textOf("join", item)
		if err != nil {
			return "", err
		}
		if err := m.take(len(text) + len(separator)); err != nil {
			return "", err
		}
		parts[i] = text
	}
	return strings.Join(parts, separator), nil
}

func (m *meter) concat(a, b any) (string, error) {
	left, err := textOf("+", a)
	if err != nil {
		return "", err
	}
	right, err := textOf("+", b)
	if err != nil {
		return "", err
	}
	if err := m.take(len(left) + len(right)); err != nil {
		return "", err
	}
	return left + right, nil
}

// add is + of two values whose types only a run can tell.
func (m *meter) add(a, b any) (any, error) {
	switch a := a.(type) {
	case string:
		return m.concat(a, b)
	case int:
		if b, ok := b.(int); ok {
			return a + b, nil
		}
	case time.Time:
		if b, ok := b.(time.Duration); ok {
			return a.Add(b), nil
		}
	case time.Duration:
		switch b := b.(type) {
		case time.Duration:
			return a + b, nil
		case time.Time:
			return b.Add(a), nil
		}
	}
	left, ok := float(a)
	right, also := float(b)
	if !ok || !also {
		return nil, fmt.Errorf("+ cannot add %s and %s", Describe(a), Describe(b))
	}
	return left + right, nil
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	default:
		return 0, false
	}
}

func (m *meter) text(v any) (string, error) {
	text, err := Text(v)
	if err != nil {
		return "", err
	}
	return text, m.take(len(text))
}

func (m *meter) toJSON(v any) (string, error) {
	data, err := encode(v)
	if err != nil {
		return "", err
	}
	return string(data), m.take(len(data))
}

func (m *meter) fromJSON(v any) (any, error) {
	const costs = 16 // bytes in memory for one of JSON
	text, err := textOf("fromJSON", v)
	if err != nil {
		return nil, err
	}
	if err := m.take(costs * len(text)); err != nil {
		return nil, err
	}
	return Decode([]byte(text))
}

func textOf(function string, v any) (string, error) {
	if text, ok := v.(string); ok {
		return text, nil
	}
	return "", fmt.Errorf("%s wants a text, got %s: string(…) makes a text of a value", function, Describe(v))
}

// Text is a value as a text: a text as it is, nothing for null, a time by RFC
// 3339, and all else as JSON.
func Text(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	case time.Duration:
		return v.String(), nil
	default:
		data, err := encode(v)
		return string(data), err
	}
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, errors.New("is no value of JSON")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decode reads one value of JSON as expressions want it: whole numbers are int
// where they fit, others float64.
func Decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return nil, errors.New("is not JSON")
	}
	return Numbers(v), nil
}

// Numbers puts int and float64 in place of each json.Number of v, which it
// changes; null in place of one that is neither.
func Numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = Numbers(member)
		}
	case []any:
		for i, item := range v {
			v[i] = Numbers(item)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return nil
	}
	return v
}

// Describe names the type of a value for a person, never the value itself.
func Describe(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case int, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	case time.Time:
		return "a time"
	case time.Duration:
		return "a duration"
	default:
		return fmt.Sprintf("%T", v)
	}
}
