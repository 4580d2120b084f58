package providers

import "testing"

func TestSameData(t *testing.T) {
	w := &Webhooks{Varies: []string{"/attempt", "/context/again"}}
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"the same bytes":           {"not json", "not json", true},
		"other bytes":              {"not json", "nor this", false},
		"another attempt":          {`{"id":1,"attempt":1}`, `{"id":1,"attempt":2}`, true},
		"without the attempt":      {`{"id":1}`, `{"id":1,"attempt":2}`, true},
		"inside":                   {`{"context":{"again":true,"x":1}}`, `{"context":{"again":false,"x":1}}`, true},
		"inside, something else":   {`{"context":{"again":true,"x":1}}`, `{"context":{"again":false,"x":2}}`, false},
		"another order":            {`{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		"another value":            {`{"id":1,"attempt":1}`, `{"id":2,"attempt":1}`, false},
		"numbers that floats lose": {`{"id":9007199254740993}`, `{"id":9007199254740992}`, false},
		"no object":                {`[1]`, `[2]`, false},
		"something behind it":      {`{"id":1}`, `{"id":1} {}`, false},
		"nothing":                  {``, `{}`, false},
	} {
		if got := w.SameData([]byte(c.a), []byte(c.b)); got != c.same {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (&Webhooks{}).SameData([]byte(`{"a":1,"b":2}`), []byte(`{"b":2,"a":1}`)) {
		t.Error("bytes that differ are the same where nothing varies")
	}
}
