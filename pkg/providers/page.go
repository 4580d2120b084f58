package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// Page is one page of the answer to a read.
type Page struct {
	Data json.RawMessage // as [Action.Read] gives it
	Next *Next           // nil: there is no other page
}

// Next is where the page after another one is.
type Next struct {
	// Params are the parameters that lead there, an object, to be put over those
	// of the page before; nil where only the provider's own URL does.
	Params json.RawMessage

	all  json.RawMessage // the parameters of the request
	link *url.URL        // where the request goes instead; nil: where the action's do
}

// ReadPage is [Action.Read] for one page: params are those that it was asked
// for with, [Next.With] those of a page after the first.
func (a *Action) ReadPage(resp *http.Response, params json.RawMessage) (Page, error) {
	r, err := a.read(resp)
	if err != nil {
		return Page{}, err
	}
	page := Page{Data: r.data(a.Result)}
	if a.Paginate == nil {
		return page, nil
	}
	object, err := parseParams(params)
	if err != nil {
		return Page{}, err
	}
	page.Next = a.next(r, page.Data, object, resp.Request)
	return page, nil
}

// With returns the parameters of the next page's request.
func (n *Next) With() json.RawMessage { return n.all }

// NewNextRequest makes the request for the page that next leads to, as
// [Action.NewRequest] makes that for the first. A provider's URL that leaves the
// base URL's host or path is an *events.Error with code provider_rejected.
func (a *Action) NewNextRequest(ctx context.Context, base string, next *Next, cred Credential) (*http.Request, error) {
	req, err := a.NewRequest(ctx, base, next.all, cred)
	if err != nil || next.link == nil {
		return req, err
	}
	if base, err = baseFor(base, cred); err != nil {
		return nil, err
	}
	root, err := parseBase(strings.TrimRight(base, "/"))
	if err != nil {
		return nil, err
	}
	if !isUnder(root, next.link) {
		return nil, events.Errorf(events.CodeProviderRejected, "the link to the next page leads away from the provider's base URL and is not followed")
	}
	u := *next.link
	u.Host = root.Host
	if auth, ok := a.pack.AuthByID(cred.Auth); ok && auth.Apply.Query != "" { // it was applied to the other URL
		query := u.Query()
		query.Set(auth.Apply.Query, req.URL.Query().Get(auth.Apply.Query))
		u.RawQuery = query.Encode()
	}
	req.URL, req.Host = &u, ""
	return req, nil
}

// isUnder reports whether u has scheme, host and port of root and a path that
// no reader can take for one outside of root's.
func isUnder(root, u *url.URL) bool {
	below := strings.TrimRight(root.EscapedPath(), "/") + "/"
	return u.Scheme == root.Scheme && hostOf(u) == hostOf(root) && u.User == nil &&
		checkSegments(strings.TrimRight(u.EscapedPath(), "/")) == nil && strings.HasPrefix(u.EscapedPath(), below)
}

// next finds the page after this one.
func (a *Action) next(r *response, data json.RawMessage, params map[string]any, asked *http.Request) *Next {
	p := a.Paginate
	if !p.More.IsZero() {
		if more, _ := r.value(p.More).(bool); !more {
			return nil
		}
	}
	switch p.Type {
	case PageLink:
		return a.nextLink(r, params, asked)
	case PageCursor:
		if !p.Last.IsZero() {
			items := p.itemsOf(data)
			if len(items) == 0 {
				return nil
			}
			v, _ := follow(decodeBody(items[len(items)-1]), p.Last.pointer)
			return a.nextParam(params, v)
		}
		return a.nextParam(params, r.value(p.Next))
	default:
		return a.nextCount(params, len(p.itemsOf(data)))
	}
}

// nextParam is the page that a cursor leads to; none for the one of before.
func (a *Action) nextParam(params map[string]any, cursor any) *Next {
	name := a.Paginate.Param
	text, ok := scalar(cursor)
	if was, _ := scalar(params[name]); !ok || text == "" || text == was {
		return nil
	}
	if property, _ := a.Params.properties()[name].(map[string]any); property["type"] == "string" {
		cursor = text
	}
	return withParams(params, map[string]any{name: cursor}, nil)
}

// nextCount is the page after one with n items; none after one that is not full.
func (a *Action) nextCount(params map[string]any, n int) *Next {
	p := a.Paginate
	if size, ok := number(params[p.Size]); n == 0 || ok && p.More.IsZero() && n < size {
		return nil
	}
	at, ok := number(params[p.Param])
	if !ok && p.Type == PageNumber {
		at = 1
		if p.First != nil {
			at = *p.First
		}
	}
	step := 1
	if p.Type == PageOffset {
		step = n
	}
	return withParams(params, map[string]any{p.Param: json.Number(strconv.Itoa(at + step))}, nil)
}

func number(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(n.String())
	return i, err == nil
}

// nextLink is the page at a URL of the provider's.
func (a *Action) nextLink(r *response, params map[string]any, asked *http.Request) *Next {
	text := linkTo(r.header.Values("Link"), "next")
	if !a.Paginate.Next.IsZero() {
		text, _ = r.value(a.Paginate.Next).(string)
	}
	if text == "" || asked == nil {
		return nil
	}
	u, err := asked.URL.Parse(text)
	if err != nil || u.String() == asked.URL.String() {
		return nil
	}
	u.Fragment, u.RawFragment = "", ""
	return withParams(params, a.paramsOf(u.Query(), params), u)
}

// paramsOf reads the parameters that stand in a query and differ from params;
// nil if the query has something that is none of the action's.
func (a *Action) paramsOf(query url.Values, params map[string]any) map[string]any {
	changed := map[string]any{}
	for name := range query {
		t, ok := a.Request.Query[name]
		fields := t.fields()
		if !ok || len(t.parts) != 1 || len(fields) != 1 {
			return nil
		}
		param := strings.TrimPrefix(fields[0], "params.")
		if was, _ := scalar(params[param]); was == query.Get(name) {
			continue
		}
		changed[param] = query.Get(name)
		property, _ := a.Params.properties()[param].(map[string]any)
		if n := query.Get(name); property["type"] == "integer" && isJSONNumber(n) {
			changed[param] = json.Number(n)
		}
	}
	return changed
}

// withParams makes a Next whose request has params with change over them.
func withParams(params, change map[string]any, link *url.URL) *Next {
	n := &Next{link: link}
	all := maps.Clone(params)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, change)
	var err error
	if n.all, err = encodeJSON(all); err != nil {
		return nil
	}
	if len(change) > 0 {
		n.Params, _ = encodeJSON(change)
	}
	return n
}

// NextLink is where the Link headers (RFC 8288) of a list say that its next page
// is; "" where they do not.
func NextLink(header http.Header) string { return linkTo(header.Values("Link"), "next") }

// linkTo finds the target of a relation in Link headers (RFC 8288).
func linkTo(headers []string, relation string) string {
	for _, header := range headers {
		for header != "" {
			var target string
			var ok bool
			if _, header, ok = strings.Cut(header, "<"); !ok {
				break
			}
			if target, header, ok = strings.Cut(header, ">"); !ok {
				break
			}
			end := linkEnd(header)
			if hasRelation(header[:end], relation) {
				return target
			}
			header = header[end:]
		}
	}
	return ""
}

// linkEnd is where the parameters of a link end: at a comma outside of quotes.
func linkEnd(s string) int {
	if i := indexOutside(s, ','); i >= 0 {
		return i
	}
	return len(s)
}

// indexOutside is where c first stands outside of quotes; -1: nowhere.
func indexOutside(s string, c byte) int {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == c && !quoted:
			return i
		}
	}
	return -1
}

func hasRelation(params, relation string) bool {
	for params != "" {
		end := indexOutside(params, ';')
		if end < 0 {
			end = len(params)
		}
		name, value, _ := strings.Cut(params[:end], "=")
		if strings.EqualFold(strings.TrimSpace(name), "rel") {
			return slices.Contains(strings.Fields(strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`))), relation)
		}
		params = params[min(end+1, len(params)):]
	}
	return false
}

// itemsOf returns the items in the data of a page, nil where there is no list.
func (p *Paginate) itemsOf(data json.RawMessage) []json.RawMessage {
	var items []json.RawMessage
	if json.Unmarshal(rawAt(data, p.Items.pointer), &items) != nil {
		return nil
	}
	return items
}

// Join makes one answer of the data of several pages, in their order: that of
// the last page, with the items of all of them in its list. So what the answer
// itself says about what comes next is still right.
func (p *Paginate) Join(pages []json.RawMessage) json.RawMessage {
	if len(pages) == 1 {
		return pages[0]
	}
	var all bytes.Buffer
	all.WriteByte('[')
	for _, data := range pages {
		for _, item := range p.itemsOf(data) {
			if all.Len() > 1 {
				all.WriteByte(',')
			}
			all.Write(item)
		}
	}
	all.WriteByte(']')
	return replaceAt(pages[len(pages)-1], p.Items.pointer, all.Bytes())
}

// replaceAt puts value where the pointer leads in an object; raw is left as it
// is where it leads nowhere.
func replaceAt(raw json.RawMessage, pointer []string, value json.RawMessage) json.RawMessage {
	if len(pointer) == 0 {
		return value
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || object[pointer[0]] == nil {
		return raw
	}
	object[pointer[0]] = replaceAt(object[pointer[0]], pointer[1:], value)
	joined, err := encodeJSON(object)
	if err != nil {
		return raw
	}
	return joined
}
