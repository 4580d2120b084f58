package providers

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseJSON(t *testing.T) {
	const text = ` {"a":[1,2.50,1e3,-0,12345678901234567890],"b":{"c":null,"d":true,"e":""},"f":"é😀"} `
	got, err := parseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"a": []any{json.Number("1"), json.Number("2.50"), json.Number("1e3"), json.Number("-0"), json.Number("12345678901234567890")},
		"b": map[string]any{"c": nil, "d": true, "e": ""},
		"f": "é😀",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseJSONRefuses(t *testing.T) {
	tests := map[string]string{
		``:                           "is not JSON: it ends too early",
		`{`:                          "is not JSON: it ends too early",
		`{"a":1`:                     "is not JSON: it ends too early",
		`[1,`:                        "is not JSON: it ends too early",
		`{"a":1}{}`:                  "has text after the JSON value",
		`01`:                         "has text after the JSON value",
		`{"a":1} x`:                  "has text after the JSON value",
		`{"a":1,"a":2}`:              `has the key "a" twice`,
		`[{"b":{"a":1,"\u0061":2}}]`: `has the key "a" twice`,
		"\"\xff\"":                   "is not valid UTF-8",
		`1e999999`:                   "has the number 1e999999, which is out of range",
		`-1E-401`:                    "has the number -1E-401, which is out of range",
		`1e99999999999999999999`:     "has the number 1e99999999999999999999, which is out of range",
		strings.Repeat("9", 401):     "has a number of more than 400 digits",
		strings.Repeat("[", 65):      "is nested deeper than 64 levels",
		strings.Repeat("[", 1e5):     "is nested deeper than 64 levels",
		strings.Repeat(`{"a":`, 65):  "is nested deeper than 64 levels",
		"[1" + strings.Repeat(",1", maxValues) + "]": "has more than 50000 values",
	}
	for text, want := range tests {
		if _, err := parseJSON([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%.40q gives %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{`{a:1}`, `{"a" 1}`, `{"a":1,}`, `[1 2]`, `NaN`, `"a`, `'a'`, `{"a":}`, `]`, `}`, `{1:2}`} {
		if v, err := parseJSON([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), "is not JSON") {
			t.Errorf("%s gives %v, %v", text, v, err)
		}
	}
	if _, err := parseJSON([]byte(strings.Repeat("[", 64) + strings.Repeat("]", 64))); err != nil {
		t.Errorf("64 levels: %v", err)
	}
}

func TestEncodeJSONKeepsText(t *testing.T) {
	got, err := encodeJSON(map[string]any{"z": "<a&b>", "a": json.Number("1.50"), "m": "\u2028"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":1.50,"m":"\u2028","z":"<a&b>"}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzParseJSON asserts that what is accepted is what encoding/json reads, and
// that what it reads is refused for a reason of our own only.
func FuzzParseJSON(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,{"b":null}],"c":"\ud83d\ude00"}`, `[[]]`, `"\ud800"`, `1e5`, `{"a":1,"a":2}`, `{} {}`, `[-0.5E+1, true,false ]`, `"a\\"`, `"\`, `-`, `0.`, "\"\t\"",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseJSON(data)
		if err != nil {
			if strings.HasPrefix(err.Error(), "is not JSON") && json.Valid(data) {
				t.Fatalf("%q is refused: %v", data, err)
			}
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&want); err != nil || !json.Valid(data) {
			t.Fatalf("%q is accepted: %v", data, err)
		}
		if diff := cmp.Diff(want, v); diff != "" {
			t.Fatalf("%q: %s", data, diff)
		}
	})
}

func BenchmarkParseJSON(b *testing.B) {
	text := []byte(`{"owner":"octo","repo":"hello","title":"a title","labels":["bug","p1"],"number":42,"draft":false}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseJSON(text); err != nil {
			b.Fatal(err)
		}
	}
}
