package providers

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
)

const listing = `
  lamps.list:
    summary: List lamps
    effect: read
    paginate: {PAGINATE}
    params:
      type: object
      additionalProperties: false
      properties:
        cursor: {type: string}
        state: {type: string}
        page: {type: integer}
        offset: {type: integer}
        limit: {type: integer}
    request:
      method: GET
      path: /lamps
      query: {cursor: "{{params.cursor}}", state: "{{params.state}}", page: "{{params.page}}", offset: "{{params.offset}}", limit: "{{params.limit}}"}
`

func listAction(t *testing.T, paginate string) *Action {
	t.Helper()
	a, ok := mustLoad(t, minimal+strings.TrimPrefix(strings.Replace(listing, "PAGINATE", paginate, 1), "\n")).Action("lamps.list")
	if !ok {
		t.Fatal("no action lamps.list")
	}
	return a
}

// answered is the page that a body and a Link header make.
func answered(t *testing.T, a *Action, params, body, link string) Page {
	t.Helper()
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	if link != "" {
		resp.Header.Set("Link", link)
	}
	resp.Request = mustRequest(t, a, params)
	page, err := a.ReadPage(resp, json.RawMessage(params))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestNextPage(t *testing.T) {
	const api = "https://api.lamp.example/v1"
	tests := []struct {
		name, paginate, params, body, link string
		change, url                        string // "": there is no next page
	}{
		{"link", "type: link", `{"state":"on"}`, `[1]`, `<` + api + `/lamps?state=on&page=2>; rel="next"`, `{"page":2}`, "/lamps?state=on&page=2"},
		{"link among others", "type: link", `{}`, `[1]`, `<` + api + `/lamps?page=1>; rel=prev, <` + api + `/rooms/7/lamps?page=3>; title="a, b; rel=x"; Rel="last NEXT"`, `{"page":3}`, "/rooms/7/lamps?page=3"},
		{"relative link", "type: link", `{}`, `[1]`, `</v1/lamps?page=2#here>; rel=next`, `{"page":2}`, "/lamps?page=2"},
		{"link with a query of its own", "type: link", `{"page":1}`, `[1]`, `<` + api + `/lamps?after=Y3&page=1>; rel=next`, "null", "/lamps?after=Y3&page=1"},
		{"no next link", "type: link", `{}`, `[1]`, `<` + api + `/lamps?page=1>; rel="prev"`, "", ""},
		{"broken link", "type: link", `{}`, `[1]`, `<` + api + `/lamps; rel="next"`, "", ""},
		{"link to itself", "type: link", `{"page":2}`, `[1]`, `<` + api + `/lamps?page=2>; rel=next`, "", ""},
		{"link in the body", "type: link, next: json:/links/next", `{}`, `{"links":{"next":"` + api + `/lamps?page=2"}}`, "", `{"page":2}`, "/lamps?page=2"},
		{"null in the body", "type: link, next: json:/links/next", `{}`, `{"links":{"next":null}}`, "", "", ""},
		{"cursor", "type: cursor, param: cursor, next: json:/next", `{"state":"on","cursor":"a"}`, `{"next":"b=="}`, "", `{"cursor":"b=="}`, "/lamps?cursor=b%3D%3D&state=on"},
		{"cursor that is a number", "type: cursor, param: cursor, next: json:/next", `{}`, `{"next":12345678901234567890}`, "", `{"cursor":"12345678901234567890"}`, "/lamps?cursor=12345678901234567890"},
		{"empty cursor", "type: cursor, param: cursor, next: json:/next", `{}`, `{"next":""}`, "", "", ""},
		{"same cursor", "type: cursor, param: cursor, next: json:/next", `{"cursor":"a"}`, `{"next":"a"}`, "", "", ""},
		{"no more", "type: cursor, param: cursor, next: json:/next, more: json:/more", `{}`, `{"next":"a","more":false}`, "", "", ""},
		{"last item", "type: cursor, param: cursor, last: json:/id, items: json:/data, more: json:/more", `{}`, `{"data":[{"id":"x"},{"id":"y"}],"more":true}`, "", `{"cursor":"y"}`, "/lamps?cursor=y"},
		{"last item of none", "type: cursor, param: cursor, last: json:/id, items: json:/data", `{}`, `{"data":[]}`, "", "", ""},
		{"page", "type: page, param: page, size: limit", `{"limit":2}`, `[1,2]`, "", `{"page":2}`, "/lamps?limit=2&page=2"},
		{"page from zero", "type: page, param: page, first: 0, items: json:/data", `{}`, `{"data":[1]}`, "", `{"page":1}`, "/lamps?page=1"},
		{"page that is not full", "type: page, param: page, size: limit", `{"limit":3,"page":4}`, `[1,2]`, "", "", ""},
		{"page without items", "type: page, param: page", `{"page":4}`, `[]`, "", "", ""},
		{"no list", "type: page, param: page", `{}`, `{"oops":1}`, "", "", ""},
		{"offset", "type: offset, param: offset, items: json:/data", `{"offset":10}`, `{"data":[1,2,3]}`, "", `{"offset":13}`, "/lamps?offset=13"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := listAction(t, tt.paginate)
			page := answered(t, a, tt.params, tt.body, tt.link)
			if page.Next == nil || tt.change == "" {
				if page.Next != nil || tt.change != "" {
					t.Fatalf("leads to %+v, want %q", page.Next, tt.change)
				}
				return
			}
			if got := string(page.Next.Params); got != tt.change && (got != "" || tt.change != "null") {
				t.Errorf("change is %s, want %s", got, tt.change)
			}
			req, err := a.NewNextRequest(t.Context(), api, page.Next, someCredential())
			if err != nil || req.URL.String() != api+tt.url || req.Header.Get("Authorization") != "Bearer t0ken" {
				t.Errorf("got %v, %v, want %s", req, err, api+tt.url)
			}
		})
	}
}

// A link of the provider's never takes the credential out of the base URL.
func TestNextPageLeavesNot(t *testing.T) {
	a := listAction(t, "type: link")
	for _, target := range []string{
		"https://evil.example/v1/lamps", "http://api.lamp.example/v1/lamps", "https://api.lamp.example:8443/v1/lamps",
		"https://u:p@api.lamp.example/v1/lamps", "https://api.lamp.example/v2/lamps", "https://api.lamp.example/v1", "//evil.example/v1/lamps",
		"https://api.lamp.example/v1/../admin", "https://api.lamp.example/v1/%2e%2e/admin", "https://api.lamp.example/v1/a%2Fb", "https://api.lamp.example/v1//lamps",
		"/v10/lamps", "javascript:alert(1)", "https://api.lamp.example\\@evil.example/v1/lamps",
	} {
		page := answered(t, a, `{}`, `[1]`, "<"+target+">; rel=next")
		if page.Next == nil {
			continue // no URL at all
		}
		req, err := a.NewNextRequest(t.Context(), "https://api.lamp.example/v1", page.Next, someCredential())
		var refused *events.Error
		if !errors.As(err, &refused) || refused.Code != events.CodeProviderRejected {
			t.Errorf("%s gives %v, %v", target, req, err)
		}
	}
}

func TestNextPageKeepsACredentialOfTheQuery(t *testing.T) {
	text := change(t, minimal, `{header: Authorization, value: "Bearer {{credential.token}}"}`, `{query: key, value: "{{credential.token}}"}`)
	pack := mustLoad(t, text+strings.TrimPrefix(strings.Replace(listing, "PAGINATE", "type: link", 1), "\n"))
	a := pack.Actions["lamps.list"]
	page := answered(t, a, `{}`, `[1]`, `</v1/lamps?page=2&key=wrong>; rel=next`)
	req, err := a.NewNextRequest(t.Context(), "https://api.lamp.example/v1", page.Next, someCredential())
	if err != nil || req.URL.Query().Get("key") != "t0ken" || len(req.URL.Query()["key"]) != 1 {
		t.Errorf("got %v, %v", req, err)
	}
}

func TestJoin(t *testing.T) {
	pages := func(texts ...string) []json.RawMessage {
		var all []json.RawMessage
		for _, text := range texts {
			all = append(all, json.RawMessage(text))
		}
		return all
	}
	root := listAction(t, "type: link").Paginate
	deep := listAction(t, "type: cursor, param: cursor, next: json:/meta/next, items: json:/result/items").Paginate
	for _, tt := range []struct {
		p     *Paginate
		pages []json.RawMessage
		want  string
	}{
		{root, pages(`[1, 2]`), `[1, 2]`},
		{root, pages(`[1, 2]`, `[]`, `[{"a": 1.50}]`), `[1,2,{"a": 1.50}]`},
		{deep, pages(`{"result":{"items":["<"],"n":1},"meta":{"next":"a"}}`, `{"result":{"items":["b"],"n":2},"meta":{"next":""}}`), `{"meta":{"next":""},"result":{"items":["<","b"],"n":2}}`},
		{deep, pages(`{"result":{"items":[1]}}`, `{"result":null}`), `{"result":null}`},
	} {
		if got := string(tt.p.Join(tt.pages)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestPaginateIsChecked(t *testing.T) {
	for paginate, want := range map[string]string{
		"type: links":                                    "paginate.type",
		"type: cursor, param: cursor":                    "paginate.next",
		"type: cursor, next: json:/a":                    "paginate.param",
		"type: cursor, param: curser, next: json:/a":     "did you mean cursor?",
		"type: page, param: state":                       "must have type: integer",
		"type: offset, param: offset, first: 2":          "paginate.first",
		"type: link, param: page":                        "paginate.param",
		"type: link, items: header:X":                    "paginate.items",
		"type: page, param: page, max_pages: 1001":       "paginate.max_pages",
		"type: page, param: page, next: json:/next":      "paginate.next",
		"type: page, param: page, size: state, first: 3": "params.properties.state must have type: integer",
	} {
		_, err := loadText(t, minimal+strings.TrimPrefix(strings.Replace(listing, "PAGINATE", paginate, 1), "\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %q", paginate, err, want)
		}
	}
	if _, err := loadText(t, change(t, minimal, "    effect: idempotent\n", "    effect: idempotent\n    paginate: {type: link}\n")); err == nil {
		t.Error("a write may have pages")
	}
}

func FuzzNextPage(f *testing.F) {
	pack, err := Load(mapFS(minimal+strings.TrimPrefix(strings.Replace(listing, "PAGINATE", "type: link", 1), "\n")), "lamp")
	if err != nil {
		f.Fatal(err)
	}
	a := pack.Actions["lamps.list"]
	f.Add(`<https://api.lamp.example/v1/lamps?page=2>; rel="next"`)
	f.Add(`<//evil>; rel=next, <`)
	f.Add(`</v1/\..>;rel="next`)
	f.Fuzz(func(t *testing.T, link string) {
		req, err := a.NewRequest(t.Context(), a.pack.HTTP.BaseURL, json.RawMessage(`{}`), someCredential())
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Link": {link}}, Body: io.NopCloser(strings.NewReader(`[]`)), Request: req}
		page, err := a.ReadPage(resp, json.RawMessage(`{}`))
		if err != nil || page.Next == nil {
			return
		}
		next, err := a.NewNextRequest(t.Context(), a.pack.HTTP.BaseURL, page.Next, someCredential())
		if err != nil {
			return
		}
		read, err := url.Parse(next.URL.String())
		if err != nil || read.Scheme != "https" || read.Host != "api.lamp.example" || read.User != nil || !strings.HasPrefix(read.EscapedPath(), "/v1/") || strings.Contains(read.Path+"/", "/../") {
			t.Errorf("%s leads to %s", strconv.Quote(link), next.URL)
		}
	})
}

func TestMarks(t *testing.T) {
	text := change(t, minimal, "    effect: idempotent\n", "    effect: idempotent\n    invalidates: [lamps.get, lamps.list]\n")
	text += `
  lamps.get:
    summary: Read a lamp
    effect: read
    cache: 60s
    params: {type: object, additionalProperties: false, required: [room, lamp], properties: {room: {type: string}, lamp: {type: integer}}}
    request: {method: GET, path: "/rooms/{{params.room}}/lamps/{{params.lamp}}"}
  lamps.list:
    summary: List the lamps of a room
    effect: read
    params: {type: object, additionalProperties: false, required: [room], properties: {room: {type: string}, color: {type: string}}}
    request: {method: GET, path: "/rooms/{{params.room}}/lamps", query: {color: "{{params.color}}"}}
  rooms.list:
    summary: List the rooms
    effect: read
    params: {type: object, additionalProperties: false, properties: {}}
    request: {method: GET, path: /rooms}
`
	pack := mustLoad(t, text)
	written := pack.Actions["lamps.set"].MarksWritten(json.RawMessage(`{"room":"Hall","lamp":7,"color":"red"}`))
	if diff := cmp.Diff([]string{"lamps.get?lamp=7&room=hall", "lamps.list?room=hall"}, written); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	for name, params := range map[string]string{"lamps.get": `{"room":"hall","lamp":7}`, "lamps.list": `{"room":"HALL","color":"blue"}`} {
		read := pack.Actions[name].MarksRead(json.RawMessage(params))
		if len(read) != 1 || read[0] != written[map[string]int{"lamps.get": 0, "lamps.list": 1}[name]] {
			t.Errorf("%s reads %q", name, read)
		}
	}
	if got := pack.Actions["lamps.get"].MarksRead(json.RawMessage(`{"room":"hall","lamp":8}`)); got[0] == written[0] {
		t.Error("another lamp goes old")
	}
	if got := pack.Actions["rooms.list"].MarksRead(json.RawMessage(`{}`)); got != nil {
		t.Errorf("what no write changes reads %q", got)
	}
	for wrong, at := range map[string]string{
		"    effect: idempotent\n    invalidates: [lamps.sets]\n": "invalidates[0]: must be a read of this pack, did you mean lamps.set?",
		"    effect: idempotent\n    cache: 60s\n":                "cache: has no place here",
		"    effect: read\n    invalidates: [lamps.set]\n":        "invalidates: has no place here",
		"    effect: read\n    cache: 25h\n":                      "cache: must be at most 24h",
	} {
		if _, err := loadText(t, change(t, minimal, "    effect: idempotent\n", wrong)); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("%q gives %v, want %q", wrong, err, at)
		}
	}
}
