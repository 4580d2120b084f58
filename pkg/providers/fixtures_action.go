package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const actionsDir = "fixtures/actions"

// ActionFixture is one execution of an action: what it asks for, what has to
// be sent, what the provider answers, what has to come of it. It is
// fixtures/actions/<name>.yaml in a pack's folder.
type ActionFixture struct {
	Name     string          `yaml:"-"` // of the file, without its ending
	Action   string          `yaml:"action"`
	Params   json.RawMessage `yaml:"params"`
	File     string          `yaml:"file"` // the bytes of the file among params
	Request  ActionCall      `yaml:"request"`
	Response ActionAnswer    `yaml:"response"`
	Expect   ActionExpect    `yaml:"expect"`
	Look     *ActionLook     `yaml:"look"` // nil: the write is not looked for
}

// ActionLook is the search for a write of an action with effect reconcile, that
// was sent with FixtureKey at FixtureSent and is found.
type ActionLook struct {
	Request  ActionCall      `yaml:"request"`
	Response ActionAnswer    `yaml:"response"`
	Data     json.RawMessage `yaml:"data"` // of the write, as the search gives it
}

// FixtureKey is the idempotency key of writes in fixtures.
const FixtureKey = "00000000-0000-4000-8000-000000000001"

// FixtureSent is when writes in fixtures were first sent. What was made up to a
// minute before counts as made by them.
func FixtureSent() time.Time { return time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC) }

// ActionCall is all of a request but the credential and what every request of
// the pack has.
type ActionCall struct {
	Method  string            `yaml:"method"`
	Path    string            `yaml:"path"` // escaped, without that of the base URL
	Query   map[string]string `yaml:"query"`
	Headers map[string]string `yaml:"headers"`
	Body    json.RawMessage   `yaml:"body"` // of a form: an object of texts; of multipart: with the file's text as well; of raw: the file's text
}

// ActionAnswer is a response of the provider.
type ActionAnswer struct {
	Status  int               `yaml:"status"`
	Headers map[string]string `yaml:"headers"`
	Body    json.RawMessage   `yaml:"body"` // JSON
	Text    string            `yaml:"text"` // instead of body: anything
}

// ActionExpect is the data of a success or the error of a failure. A success
// whose data is not written has the whole body as its data.
type ActionExpect struct {
	Data  json.RawMessage `yaml:"data"`
	Error *ActionError    `yaml:"error"`
	Next  json.RawMessage `yaml:"next"` // what is changed in params for the next page; not written: there is none
}

// ActionError is the *events.Error of a failure but for Retryable, which
// follows the code.
type ActionError struct {
	Code         string `yaml:"code"`
	Message      string `yaml:"message"`
	ProviderCode string `yaml:"provider_code"`
	RequestID    string `yaml:"request_id"`
}

// ActionFixtures reads the pack's fixtures of actions, in the order of their
// names. All their problems are one error.
func (p *Pack) ActionFixtures() ([]ActionFixture, error) {
	names, err := fs.Glob(p.dir, path.Join(actionsDir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing actions: %w", err)
	}
	var all []ActionFixture
	var problems []error
	for _, name := range names {
		f, err := p.actionFixture(name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, f)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return all, nil
}

func (p *Pack) actionFixture(file string) (ActionFixture, error) {
	f := ActionFixture{Name: strings.TrimSuffix(path.Base(file), ".yaml")}
	data, err := readFile(p.dir, file)
	if err != nil {
		return f, fmt.Errorf("reading an action fixture: %w", err)
	}
	d := readYAML(path.Join(p.Name, file), data, &f)
	f.check(p, d.report)
	return f, d.err()
}

func (f *ActionFixture) check(p *Pack, r report) {
	if _, ok := p.Action(f.Action); !ok {
		text := "is no action of the pack"
		if near := p.NearestAction(f.Action); near != "" {
			text += ", did you mean " + near + "?"
		}
		r("action", "%s", text)
	}
	if f.Params == nil {
		r("params", "is missing")
	}
	if f.Request.Method == "" {
		r("request.method", "is missing")
	}
	if !strings.HasPrefix(f.Request.Path, "/") {
		r("request.path", "must begin with /")
	}
	if f.Response.Status < 200 || f.Response.Status > 599 {
		r("response.status", "must be from 200 to 599")
	}
	if f.Response.Body != nil && f.Response.Text != "" {
		r("response", "has body and text: it is one or the other")
	}
	switch e := f.Expect; {
	case e.Data != nil && e.Error != nil:
		r("expect", "has data and error: it is one or the other")
	case e.Error != nil && events.Code(e.Error.Code).Meaning().Code != events.Code(e.Error.Code):
		r("expect.error.code", "is no error code")
	case e.Data == nil && e.Error == nil && f.Response.Body == nil && !f.givesFile(p):
		r("expect", "needs data or error where the response has no JSON body")
	}
	if l := f.Look; l != nil && (l.Response.Body == nil || l.Data == nil || l.Request.Method == "") {
		r("look", "needs request, response.body and data")
	}
}

// givesFile reports whether the response is a file.
func (f *ActionFixture) givesFile(p *Pack) bool {
	a, ok := p.Action(f.Action)
	return ok && a.GivesFile()
}

// IsSuccess reports whether the action succeeds.
func (f *ActionFixture) IsSuccess() bool { return f.Expect.Error == nil }

// Data is what a success gives back.
func (f *ActionFixture) Data() json.RawMessage {
	if f.Expect.Data != nil {
		return f.Expect.Data
	}
	return f.Response.Body
}

// Raw is the body of the response.
func (a *ActionAnswer) Raw() []byte {
	if a.Body != nil {
		return a.Body
	}
	return []byte(a.Text)
}

// HTTP makes the response, as net/http would have read it.
func (a *ActionAnswer) HTTP() *http.Response {
	raw := a.Raw()
	resp := &http.Response{
		StatusCode:    a.Status,
		Status:        fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status)),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        http.Header{},
		Body:          io.NopCloser(bytes.NewReader(raw)),
		ContentLength: int64(len(raw)),
	}
	if a.Body != nil {
		resp.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for name, value := range a.Headers {
		resp.Header.Set(name, value)
	}
	return resp
}
