package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/plugfn/plugfn/pkg/providers"
)

// answer is a response. It is not changed once it is made.
type answer struct {
	status int
	header http.Header
	body   []byte
	next   url.Values // what leads to the next page of a list; nil: it is the last
}

// answerOf is the response of a fixture, without the headers that net/http
// makes from what is really sent, and without links to the provider itself.
func answerOf(f providers.ActionAnswer) *answer {
	a := &answer{status: f.Status, header: f.HTTP().Header, body: f.Raw()} //nolint:bodyclose // made of bytes
	if u, err := url.Parse(providers.NextLink(a.header)); err == nil && u.RawQuery != "" {
		a.next = u.Query()
	}
	for _, name := range []string{"Connection", "Content-Encoding", "Content-Length", "Date", "Link", "Trailer", "Transfer-Encoding"} {
		a.header.Del(name)
	}
	return a
}

// linked is a with a link to the next page: here, and to the same list, for the
// path of the fixture may be one that no action has. The page that the link leads
// to is the last.
func (a *answer) linked(r *http.Request) *answer {
	query := r.URL.Query()
	isLast := true
	for name, values := range a.next {
		isLast = isLast && slices.Equal(query[name], values)
		query[name] = values
	}
	if isLast {
		return a
	}
	u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()}
	header := a.header.Clone()
	header.Set("Link", "<"+u.String()+`>; rel="next"`)
	return &answer{status: a.status, header: header, body: a.body}
}

// say is a response in the sandbox's own words.
func say(status int, message string) *answer {
	body, err := encode(map[string]string{"message": message})
	if err != nil {
		body = []byte("{}")
	}
	return &answer{status: status, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body: body}
}

func (a *answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	// Answers repeat what a caller sent: a browser that is led here must not
	// take that for a page.
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if w.Header().Get("Content-Security-Policy") == "" {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) //nolint:gosec // see above; it fails only when nobody listens, or where the status has no body
}

// failure is the answer of the first fixture that is as wanted, of the action
// if there is one; nil if there is none.
func failure(fixtures []providers.ActionFixture, action string, wanted func(providers.ActionFixture) bool) *answer {
	var found *answer
	for _, f := range fixtures {
		switch {
		case !wanted(f):
		case f.Action == action:
			return answerOf(f.Response)
		case found == nil:
			found = answerOf(f.Response)
		}
	}
	return found
}

// encode is json.Marshal without the escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads one JSON value and nothing after it. Numbers stay as they are
// written.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON value")
	}
	return v, nil
}
