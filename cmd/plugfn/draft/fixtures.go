package draft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// fileText is the file that fixtures send.
const fileText = "a file of an example"

// fixture writes the skeleton of an action's fixture: what the pack makes of
// parameters that it takes, and an answer that leads on where there are pages.
func (d *Draft) fixture(pack *providers.Pack, act *Action) ([]byte, error) {
	a, ok := pack.Action(act.Name)
	if !ok {
		return nil, errors.New("no such action")
	}
	params, err := exampleParams(a, act)
	if err != nil {
		return nil, err
	}
	req, err := buildRequest(a, params, pack)
	if err != nil {
		return nil, err
	}
	call, err := callOf(pack, act, req, params)
	if err != nil {
		return nil, err
	}
	response, expect, err := act.answerExample(a, params, req)
	if err != nil {
		return nil, err
	}
	m := members{{key: "action", value: act.Name}, {key: "params", value: params}}
	if act.fileParam != "" {
		m = append(m, member{key: "file", value: fileText})
	}
	m = append(m, member{key: "request", value: call}, member{key: "response", value: response})
	if len(expect) > 0 {
		m = append(m, member{key: "expect", value: expect})
	}
	return encode(m, "# A skeleton: put a real answer of the provider here.\n")
}

// exampleParams are parameters that the action takes.
func exampleParams(a *providers.Action, act *Action) (json.RawMessage, error) {
	params := objectOf(exampleOf(act.params, 0))
	if act.fileParam != "" {
		sum := sha256.Sum256([]byte(fileText))
		digest := hex.EncodeToString(sum[:])
		params[act.fileParam] = events.File{
			PayloadRef: events.PayloadRef{Subject: events.PrefixPayload + "u1." + digest, SHA256: digest, Size: int64(len(fileText))},
			Name:       "example.txt", ContentType: "application/octet-stream",
		}
	}
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	return raw, a.Validate(raw)
}

// buildRequest makes the request with a credential of no worth.
func buildRequest(a *providers.Action, params json.RawMessage, pack *providers.Pack) (*http.Request, error) {
	cred := providers.Credential{Auth: pack.Auth[0].ID, Token: providers.NewSecret([]byte("example")), Fields: map[string]providers.Secret{}}
	for _, f := range pack.Auth[0].Fields {
		cred.Fields[f.Name] = providers.NewSecret([]byte("example"))
	}
	req, err := a.NewRequest(context.Background(), pack.HTTP.BaseURL, params, cred)
	if err != nil {
		return nil, err
	}
	if auth := pack.Auth[0]; auth.Type != providers.AuthNone {
		req.Header.Del(cmp.Or(auth.Apply.Header, "Authorization"))
		if auth.Apply.Query != "" {
			query := req.URL.Query()
			query.Del(auth.Apply.Query)
			req.URL.RawQuery = query.Encode()
		}
	}
	return req, nil
}

// callOf writes a request as a fixture has it.
func callOf(pack *providers.Pack, act *Action, req *http.Request, params json.RawMessage) (members, error) {
	_, tail, _ := strings.Cut(pack.HTTP.BaseURL, "://")
	_, base, hasPath := strings.Cut(tail, "/")
	path := req.URL.EscapedPath()
	if hasPath {
		path = strings.TrimPrefix(path, "/"+base)
	}
	m := members{{key: "method", value: req.Method}, {key: "path", value: path}}
	if query := firsts(req.URL.Query()); len(query) > 0 {
		m = append(m, member{key: "query", value: query})
	}
	headers := req.Header.Clone()
	for _, own := range []string{"User-Agent", "Accept", "Content-Type"} {
		if own != "Accept" || headers.Get(own) == "application/json" {
			headers.Del(own)
		}
	}
	if len(headers) > 0 {
		m = append(m, member{key: "headers", value: firsts(headers)})
	}
	body, err := bodyOf(act, req, params)
	if err != nil || body == nil {
		return m, err
	}
	return append(m, member{key: "body", value: body}), nil
}

func firsts(all map[string][]string) map[string]string {
	out := map[string]string{}
	for name, values := range all {
		out[name] = strings.Join(values, ",")
	}
	return out
}

// bodyOf is the body as a fixture has it.
func bodyOf(act *Action, req *http.Request, params json.RawMessage) (any, error) {
	switch act.encoding {
	case "raw":
		return fileText, nil
	case "multipart":
		fields := map[string]any{act.fileParam: fileText}
		var given map[string]any
		if err := json.Unmarshal(params, &given); err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(given)) {
			if name != act.fileParam && !act.isPlaced(name) {
				fields[name] = formText(given[name])
			}
		}
		return fields, nil
	}
	if req.Body == nil {
		return nil, nil //nolint:nilnil // no body is no error
	}
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if act.encoding == "form" {
		form, err := http.NewRequest(http.MethodPost, "/", strings.NewReader(string(raw))) //nolint:noctx // it is only parsed
		if err != nil {
			return nil, err
		}
		form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := form.ParseForm(); err != nil {
			return nil, err
		}
		return firsts(form.PostForm), nil
	}
	return json.RawMessage(raw), nil
}

func formText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(raw)
}

func (act *Action) isPlaced(name string) bool {
	field := "{{params." + name + "}}"
	in := func(set map[string]string) bool {
		return slices.Contains(slices.Collect(maps.Values(set)), field)
	}
	return strings.Contains(act.place.path, field) || in(act.place.query) || in(act.place.headers)
}

// answerExample is an answer of the provider, and what has to come of it where
// that is more than the answer.
func (act *Action) answerExample(a *providers.Action, params json.RawMessage, req *http.Request) (response, expect members, err error) {
	if act.file {
		return members{{key: "status", value: 200}, {key: "text", value: fileText}}, nil, nil
	}
	body := any(map[string]any{})
	var headers map[string]string
	if p := act.pages; p != nil {
		body = listAt(p.items)
		switch p.kind {
		case "link":
			headers = map[string]string{"Link": "<" + nextLink(req, act) + `>; rel="next"`}
		case "cursor":
			if p.last != "" {
				body = put(body, p.more, true)
			} else {
				body = put(body, p.next, "next-page")
			}
		}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	answer := providers.ActionAnswer{Status: 200, Headers: headers, Body: raw}
	response = members{{key: "status", value: 200}}
	if len(headers) > 0 {
		response = append(response, member{key: "headers", value: headers})
	}
	response = append(response, member{key: "body", value: json.RawMessage(raw)})
	if act.pages == nil {
		return response, nil, nil
	}
	resp := answer.HTTP()
	defer resp.Body.Close()
	resp.Request = req
	page, err := a.ReadPage(resp, params)
	if err != nil {
		return nil, nil, err
	}
	if page.Next == nil || page.Next.Params == nil {
		return nil, nil, errors.New("the pages that were guessed lead nowhere")
	}
	return response, members{{key: "next", value: page.Next.Params}}, nil
}

// nextLink is where a Link header leads: the same address with one parameter
// changed.
func nextLink(req *http.Request, act *Action) string {
	u := *req.URL
	query := u.Query()
	for _, name := range slices.Sorted(maps.Keys(act.place.query)) {
		if param := act.pages.param; param == "" || act.place.query[name] == "{{params."+param+"}}" {
			query.Set(name, "2")
			break
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// listAt is an answer with one item in its list.
func listAt(pointer string) any {
	list := []any{map[string]any{"id": "example"}}
	if pointer == "" {
		return list
	}
	return put(map[string]any{}, pointer, list)
}

// put sets what a pointer leads to in an object.
func put(body any, pointer string, v any) any {
	root := objectOf(body)
	if root == nil {
		return body
	}
	names := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	at := root
	for _, name := range names[:len(names)-1] {
		if objectOf(at[name]) == nil {
			at[name] = map[string]any{}
		}
		at = objectOf(at[name])
	}
	at[names[len(names)-1]] = v
	return root
}

// failure writes a fixture of a refused credential.
func (d *Draft) failure(pack *providers.Pack, act *Action, fixture []byte) ([]byte, error) {
	a, _ := pack.Action(act.Name)
	body := []byte(`{}`)
	if d.message != "" {
		var err error
		if body, err = json.Marshal(put(map[string]any{}, d.message, "Unauthorized")); err != nil {
			return nil, err
		}
	}
	answer := providers.ActionAnswer{Status: http.StatusUnauthorized, Body: body}
	resp := answer.HTTP()
	defer resp.Body.Close()
	_, err := a.Read(resp)
	var e *events.Error
	if !errors.As(err, &e) {
		return nil, errors.New("a refusal is taken for a success")
	}
	tail, err := encode(members{
		{key: "response", value: members{{key: "status", value: http.StatusUnauthorized}, {key: "body", value: json.RawMessage(body)}}},
		{key: "expect", value: members{{key: "error", value: members{{key: "code", value: string(e.Code)}, {key: "message", value: e.Message}}}}},
	}, "")
	if err != nil {
		return nil, err
	}
	head, _, _ := strings.Cut(string(fixture), "\nresponse:")
	return append([]byte(head+"\n"), tail...), nil
}
