package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// canary is a credential that must show in one place only.
const canary = "canary-5up3r-s3cr3t"

// actions checks the fixtures of all actions, and that there are enough.
func actions(t T, pack *providers.Pack) {
	fixtures, err := pack.ActionFixtures()
	if err != nil {
		t.Fatal(err)
	}
	succeeds, looked, leads := map[string]bool{}, map[string]bool{}, map[string]bool{}
	failures := 0
	for _, f := range fixtures {
		if f.IsSuccess() {
			succeeds[f.Action] = true
		} else {
			failures++
		}
		looked[f.Action] = looked[f.Action] || f.Look != nil
		leads[f.Action] = leads[f.Action] || f.Expect.Next != nil
		t.Run(f.Name, func(t T) { action(t, pack, f) })
	}
	for name, a := range pack.Actions {
		if !succeeds[name] {
			t.Errorf("action %s has no fixture of a success", name)
		}
		if a.Effect == providers.EffectReconcile && !looked[name] {
			t.Errorf("action %s has effect %s and no fixture with a look", name, a.Effect)
		}
		if a.Paginate != nil && !leads[name] {
			t.Errorf("action %s has pages and no fixture that leads to the next one", name)
		}
	}
	if failures == 0 && len(pack.Actions) > 0 {
		t.Error("the pack has no fixture of a failure")
	}
}

// action checks one fixture from the parameters to the result, and then what
// variations of its parameters do.
func action(t T, pack *providers.Pack, f providers.ActionFixture) {
	a, ok := pack.Action(f.Action)
	if !ok {
		t.Fatalf("no action %s", f.Action)
	}
	if err := a.Validate(f.Params); err != nil {
		t.Fatalf("params: %v", err)
	}
	for _, auth := range pack.Auth {
		req := newRequest(t, pack, a, f.Params, auth)
		attach(t, a, f, req)
		credential(t, auth, req)
		request(t, pack, f.Request, req)
	}
	if found, ok := pack.Match(f.Request.Method, f.Request.Path); !ok || found != a {
		t.Errorf("Match(%s %s) does not find the action", f.Request.Method, f.Request.Path)
	}
	response(t, a, f)
	if f.IsSuccess() {
		recognised(t, pack, a, f)
		page(t, pack, a, f)
		missing(t, a, f.Params)
		unknown(t, a, f.Params)
		hostile(t, pack, a, f.Params)
	}
}

// canaryOf is a credential of that kind.
func canaryOf(auth *providers.Auth) providers.Credential {
	c := providers.Credential{Auth: auth.ID, Token: providers.NewSecret([]byte(canary)), Fields: map[string]providers.Secret{}}
	for _, f := range auth.Fields {
		c.Fields[f.Name] = providers.NewSecret([]byte(canary))
		if f.Public && strings.Contains(auth.Pack().HTTP.BaseURL, "{{credential."+f.Name+"}}") {
			c.Fields[f.Name] = providers.NewSecret([]byte("example"))
		}
	}
	return c
}

// baseOf is where requests with a credential go.
func baseOf(t T, pack *providers.Pack, cred providers.Credential) *url.URL {
	t.Helper()
	text, err := pack.BaseURLFor(cred)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func newRequest(t T, pack *providers.Pack, a *providers.Action, params json.RawMessage, auth *providers.Auth) *http.Request {
	t.Helper()
	req, err := a.NewRequest(t.Context(), pack.HTTP.BaseURL, params, canaryOf(auth))
	if err != nil {
		t.Fatalf("NewRequest: %v", err)
	}
	return req
}

// attach gives a request the file of the fixture.
func attach(t T, a *providers.Action, f providers.ActionFixture, req *http.Request) {
	t.Helper()
	if a.FileParam() == "" {
		return
	}
	file, ok := a.File(f.Params)
	if !ok || file.Size != int64(len(f.File)) {
		t.Fatalf("the file among params has %d bytes, that of the fixture %d", file.Size, len(f.File))
	}
	if err := a.Attach(req, f.Params, file, func() (io.Reader, error) { return strings.NewReader(f.File), nil }); err != nil {
		t.Fatal(err)
	}
	body := readBody(t, req)
	if int64(len(body)) != req.ContentLength {
		t.Errorf("the body has %d bytes, want %d", len(body), req.ContentLength)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
}

// credential takes the credential out of the request, where it must be once,
// and looks for it everywhere else.
func credential(t T, auth *providers.Auth, req *http.Request) {
	t.Helper()
	if auth.Type != providers.AuthNone {
		name := auth.Apply.Header
		if auth.Apply.Basic != nil {
			name = "Authorization"
		}
		applied := req.Header.Get(name)
		req.Header.Del(name)
		if auth.Apply.Query != "" {
			query := req.URL.Query()
			applied = query.Get(auth.Apply.Query)
			query.Del(auth.Apply.Query)
			req.URL.RawQuery = query.Encode()
		}
		if applied == "" {
			t.Errorf("auth %s: the request bears no credential", auth.ID)
		}
	}
	body := readBody(t, req)
	req.Body = io.NopCloser(bytes.NewReader(body))
	places := []string{req.URL.String(), string(body)}
	for name, values := range req.Header {
		places = append(places, name+": "+strings.Join(values, ","))
	}
	for _, place := range places {
		if strings.Contains(place, canary) {
			t.Errorf("auth %s: the credential is in the request a second time: %s", auth.ID, place)
		}
	}
}

// request compares a request without its credential with the expected one.
func request(t T, pack *providers.Pack, want providers.ActionCall, req *http.Request) {
	t.Helper()
	if req.Method != want.Method {
		t.Errorf("method is %s, want %s", req.Method, want.Method)
	}
	base := baseOf(t, pack, canaryOf(pack.Auth[0]))
	if req.URL.Scheme != base.Scheme || req.URL.Host != base.Host {
		t.Errorf("the request goes to %s, want %s", req.URL, base)
	}
	if got := strings.TrimPrefix(req.URL.EscapedPath(), base.EscapedPath()); got != want.Path {
		t.Errorf("path is %s, want %s", got, want.Path)
	}
	query := url.Values{}
	for name, value := range want.Query {
		query.Set(name, value)
	}
	if diff := cmp.Diff(query, req.URL.Query()); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	headers(t, pack, want, req)
	requestBody(t, want, req)
}

// formBody is a multipart form as JSON, the file as its text.
func formBody(t T, body []byte, boundary string) []byte {
	t.Helper()
	form, err := multipart.NewReader(bytes.NewReader(body), boundary).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for name, values := range form.Value {
		fields[name] = strings.Join(values, ",")
	}
	for name, files := range form.File {
		file, err := files[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(file)
		if err != nil {
			t.Fatal(err)
		}
		fields[name] = string(text)
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// headers compares the headers: those of the fixture, those of the pack, and
// those that PlugFn sets, and no other.
func headers(t T, pack *providers.Pack, want providers.ActionCall, req *http.Request) {
	t.Helper()
	expected := http.Header{"User-Agent": {"plugfn"}, "Accept": {"application/json"}}
	for _, set := range []map[string]string{pack.HTTP.Headers, want.Headers} {
		for name, value := range set {
			expected.Set(name, value)
		}
	}
	got := req.Header.Clone()
	got.Del("Content-Type") // goes with the body
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func requestBody(t T, want providers.ActionCall, req *http.Request) {
	t.Helper()
	body := readBody(t, req)
	media, detail, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
	switch media {
	case "multipart/form-data":
		_, boundary, _ := strings.Cut(detail, "boundary=")
		body = formBody(t, body, boundary)
	case "application/octet-stream":
		body, _ = json.Marshal(string(body)) // of a text
	case "":
		if want.Body != nil || len(body) > 0 {
			t.Errorf("body is %q without a type, want %s", body, want.Body)
		}
		return
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]string{}
		for name := range form {
			fields[name] = form.Get(name)
		}
		if body, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
	}
	sameJSON(t, "body", want.Body, body)
}

// response compares what the action makes of the response.
func response(t T, a *providers.Action, f providers.ActionFixture) {
	t.Helper()
	resp := f.Response.HTTP()
	defer resp.Body.Close()
	if a.GivesFile() && f.IsSuccess() {
		if resp.StatusCode >= http.StatusMultipleChoices || f.Response.Text == "" {
			t.Error("a file is a success with a text")
		}
		return
	}
	data, err := a.Read(resp)
	if f.IsSuccess() {
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		sameJSON(t, "data", f.Data(), data)
		if err := a.CheckData(data); err != nil {
			t.Errorf("the data is not what the pack says of it: %v", err)
		}
		return
	}
	var got *events.Error
	if !errors.As(err, &got) {
		t.Fatalf("Read gives %v, want an *events.Error", err)
	}
	code := events.Code(f.Expect.Error.Code)
	want := &events.Error{
		Code:         code,
		Message:      f.Expect.Error.Message,
		Status:       f.Response.Status,
		ProviderCode: f.Expect.Error.ProviderCode,
		RequestID:    f.Expect.Error.RequestID,
		Retryable:    code.Meaning().Retryable,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func readBody(t T, req *http.Request) []byte {
	t.Helper()
	if req.Body == nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func sameJSON(t T, what string, want, got json.RawMessage) {
	t.Helper()
	if diff := cmp.Diff(tree(t, want), tree(t, got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// tree decodes JSON with its numbers as they are written.
func tree(t T, raw json.RawMessage) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%q is no JSON: %v", raw, err)
	}
	return v
}
