package providers

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
)

func answer(status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// classes is the http block of a provider with every kind of failure.
const classes = `success: status < 400 && body.ok == true
  errors:
    - {when: 'body.error == "scope"', code: scope_required, needs: "json:/needed"}
    - {when: 'body.count > 3', code: rate_limited, retry_after: "header:Retry-After"}
    - {when: 'header["x-left"] == "0"', code: rate_limited}
    - {when: 'status == 410', code: invalid_params}
  error: {message: "json:/detail/text", code: "json:/error"}
  max_response: 1KiB`

func classedAction(t *testing.T, changes ...string) *Action {
	t.Helper()
	const plain = "success: status == 200\n  errors:\n    - {when: status == 418, code: rate_limited}"
	return lampAction(t, append([]string{plain, classes}, changes...)...)
}

func TestReadSuccess(t *testing.T) {
	whole := lampAction(t, "  success: status == 200\n", "")
	part := lampAction(t, "  success: status == 200\n", "", "    sensitive: [/color]", "    sensitive: [/color]\n    result: json:/data/0/a~1b")
	tests := []struct {
		action *Action
		status int
		body   string
		want   string
	}{
		{whole, 200, ` {"b": 1.50, "a":12345678901234567890 } `, `{"b": 1.50, "a":12345678901234567890 }`},
		{whole, 204, ``, `null`},
		{whole, 201, " \n", `null`},
		{whole, 200, `null`, `null`},
		{whole, 200, `ok <b> "x"`, `"ok <b> \"x\""`},
		{whole, 200, "a\xffb", `"a\ufffdb"`},
		{whole, 200, `{"a":1}{"b":2}`, `"{\"a\":1}{\"b\":2}"`},
		{part, 200, `{"data":[{"a/b":{"x": 1.50}}],"rest":1}`, `{"x": 1.50}`},
		{part, 200, `{"data":[{"a/b":null}]}`, `null`},
		{part, 200, `{"data":[]}`, `null`},
		{part, 200, `{"data":{"0":{"a/b":"text"}}}`, `"text"`},
		{part, 200, `[1]`, `null`},
		{part, 200, ``, `null`},
	}
	for _, tt := range tests {
		got, err := tt.action.Read(answer(tt.status, tt.body))
		if err != nil || string(got) != tt.want {
			t.Errorf("%d %s gives %s, %v, want %s", tt.status, tt.body, got, err, tt.want)
		}
		if !json.Valid(got) {
			t.Errorf("%s is no JSON", got)
		}
	}
}

func TestReadFailure(t *testing.T) {
	a := classedAction(t)
	long := strings.Repeat("é", 400)
	tests := []struct {
		name string
		resp *http.Response
		want events.Error
	}{
		{
			"not ok", answer(200, `{"ok":false,"error":"e1"}`, "X-Request-Id", "r1"),
			events.Error{Code: events.CodeProviderRejected, Message: "the provider says that it failed and gives no reason", Status: 200, ProviderCode: "e1", RequestID: "r1"},
		},
		{
			"no body", answer(200, ``),
			events.Error{Code: events.CodeProviderRejected, Message: "the provider says that it failed and gives no reason", Status: 200},
		},
		{
			"scope", answer(403, `{"error":"scope","needed":"lamps:write","detail":{"text":"no"}}`),
			events.Error{Code: events.CodeScopeRequired, Message: "the connection lacks the scope lamps:write", Status: 403, ProviderCode: "scope"},
		},
		{
			"scope without its name", answer(403, `{"error":"scope","detail":{"text":"no"}}`),
			events.Error{Code: events.CodeScopeRequired, Message: "no", Status: 403, ProviderCode: "scope"},
		},
		{
			"number", answer(400, `{"count":4}`),
			events.Error{Code: events.CodeRateLimited, Message: "the provider answered 400 Bad Request", Status: 400, Retryable: true},
		},
		{
			"header", answer(400, `[]`, "X-Left", "0"),
			events.Error{Code: events.CodeRateLimited, Message: "the provider answered 400 Bad Request", Status: 400, Retryable: true},
		},
		{
			"first class wins", answer(400, `{"error":"scope","count":4}`, "X-Left", "0"),
			events.Error{Code: events.CodeScopeRequired, Message: "the provider answered 400 Bad Request", Status: 400, ProviderCode: "scope"},
		},
		{"status", answer(410, ``), events.Error{Code: events.CodeInvalidParams, Message: "the provider answered 410 Gone", Status: 410}},
		{
			"message", answer(400, `{"detail":{"text":" a\u0000\u001b[31m\n\tb\u202e "}}`),
			events.Error{Code: events.CodeProviderRejected, Message: "a[31m  b", Status: 400},
		},
		{
			"long message", answer(400, `{"detail":{"text":"`+long+`"}}`),
			events.Error{Code: events.CodeProviderRejected, Message: strings.Repeat("é", 148) + "…", Status: 400},
		},
		{
			"message is no text", answer(400, `{"detail":{"text":{"secret":"x"}},"error":[1]}`),
			events.Error{Code: events.CodeProviderRejected, Message: "the provider answered 400 Bad Request", Status: 400},
		},
		{
			"exact number", answer(400, `{"error":12345678901234567890}`),
			events.Error{Code: events.CodeProviderRejected, Message: "the provider answered 400 Bad Request", Status: 400, ProviderCode: "12345678901234567890"},
		},
		{
			"html", answer(503, `<html>secret</html>`),
			events.Error{Code: events.CodeProviderUnavailable, Message: "the provider answered 503 Service Unavailable", Status: 503, Retryable: true},
		},
		{
			"odd status", answer(599, ``),
			events.Error{Code: events.CodeProviderUnavailable, Message: "the provider answered 599", Status: 599, Retryable: true},
		},
		{
			"redirect", answer(302, `{"ok":false}`),
			events.Error{Code: events.CodeProviderRejected, Message: "the provider answered 302 Found", Status: 302},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := a.Read(tt.resp)
			var got *events.Error
			if !errors.As(err, &got) || data != nil {
				t.Fatalf("got %s, %v", data, err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadClassesByStatus(t *testing.T) {
	a := lampAction(t, "  success: status == 200\n  errors:\n    - {when: status == 418, code: rate_limited}\n", "")
	want := map[int]events.Code{
		301: events.CodeProviderRejected, 304: events.CodeProviderRejected, 307: events.CodeProviderRejected,
		400: events.CodeProviderRejected, 401: events.CodeNeedsReauth, 403: events.CodeProviderRejected,
		404: events.CodeProviderRejected, 408: events.CodeProviderUnavailable, 409: events.CodeProviderRejected,
		410: events.CodeProviderRejected, 418: events.CodeProviderRejected, 422: events.CodeProviderRejected,
		425: events.CodeProviderUnavailable, 429: events.CodeRateLimited,
		500: events.CodeProviderUnavailable, 502: events.CodeProviderUnavailable, 503: events.CodeProviderUnavailable,
	}
	for status, code := range want {
		_, err := a.Read(answer(status, `{}`))
		var e *events.Error
		if !errors.As(err, &e) || e.Code != code || e.Status != status || e.Retryable != code.Meaning().Retryable {
			t.Errorf("%d gives %+v, want %s", status, err, code)
		}
	}
	for _, status := range []int{200, 201, 202, 204, 206} {
		if _, err := a.Read(answer(status, ``)); err != nil {
			t.Errorf("%d gives %v", status, err)
		}
	}
}

func TestReadIsBounded(t *testing.T) {
	read, write := classedAction(t, "effect: idempotent", "effect: read"), classedAction(t)
	body := `{"ok":true,"x":"` + strings.Repeat("x", 1024) + `"}`
	for _, tt := range []struct {
		action *Action
		status int
		code   events.Code
	}{
		{read, 200, events.CodeProviderRejected},
		{write, 500, events.CodeProviderRejected},
		{write, 200, events.CodeOutcomeUnknown}, // what says whether it worked was not read
	} {
		source := strings.NewReader(strings.Repeat(body, 100))
		resp := answer(tt.status, "", "X-Request-Id", "r1")
		resp.Body = io.NopCloser(source)
		_, err := tt.action.Read(resp)
		var e *events.Error
		if !errors.As(err, &e) || e.Code != tt.code || e.RequestID != "r1" || !strings.Contains(e.Message, "1024 bytes") {
			t.Errorf("%d gives %v, want %s", tt.status, err, tt.code)
		}
		if took := int(source.Size()) - source.Len(); took != 1025 {
			t.Errorf("%d bytes were read", took)
		}
	}
	if _, err := read.Read(answer(200, body[:10]+`"`+strings.Repeat(" ", 1013)+"}")); err == nil {
		t.Error("a body of the wrong form is accepted")
	}
	if data, err := read.Read(answer(200, `{"ok":true}`+strings.Repeat(" ", 1013))); err != nil {
		t.Errorf("a body of exactly the limit gives %s, %v", data, err)
	}
}

func TestReadPassesNetworkErrors(t *testing.T) {
	broken := errors.New("connection reset")
	resp := answer(200, "")
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"ok":`), iotest.ErrReader(broken)))
	_, err := classedAction(t).Read(resp)
	if e := (*events.Error)(nil); !errors.Is(err, broken) || errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}

// FuzzReadResponse asserts that no response makes Read panic, and that it gives either
// JSON or an error with one short line.
func FuzzReadResponse(f *testing.F) {
	for _, body := range []string{``, `{"ok":true}`, `{"ok":false,"error":"x"}`, `[`, `{"detail":{"text":"a\u0000b"}}`, `{"count":1e400}`, `{"ok":{"a":[null]}}`, "\xff"} {
		f.Add(200, body, "0")
		f.Add(500, body, "\n")
	}
	text := strings.Replace(minimal, "success: status == 200\n  errors:\n    - {when: status == 418, code: rate_limited}", classes, 1)
	p, err := Load(mapFS(text), "lamp")
	if err != nil {
		f.Fatal(err)
	}
	a := p.Actions["lamps.set"]
	f.Fuzz(func(t *testing.T, status int, body, left string) {
		data, err := a.Read(answer(status, body, "X-Left", left, "X-Request-Id", left))
		var e *events.Error
		switch {
		case err == nil && !json.Valid(data):
			t.Fatalf("data is %q", data)
		case err != nil && !errors.As(err, &e):
			t.Fatal(err)
		case err != nil && (len(e.Message) > 400 || len(e.ProviderCode) > 300 || strings.ContainsAny(e.Message+e.ProviderCode+e.RequestID, "\r\n\x00")):
			t.Fatalf("%+q", e)
		}
	})
}
