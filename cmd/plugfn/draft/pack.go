package draft

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is provider.yaml. The schemas of parameters have levels at most.
func (d *Draft) document(levels int) ([]byte, error) {
	actions := members{}
	for _, act := range d.Actions {
		actions = append(actions, member{key: act.Name, value: act.members(levels)})
	}
	display := members{{key: "name", value: d.Title}}
	if d.docs != "" {
		display = append(display, member{key: "docs", value: d.docs})
	}
	m := members{
		{key: "apiVersion", value: "plugfn.dev/v1"},
		{key: "kind", value: "Provider"},
		{key: "name", value: d.Name},
		{key: "version", value: d.version},
		{key: "display", value: display},
		{key: "auth", value: d.authMembers()},
		{key: "http", value: d.httpMembers()},
		{key: "actions", value: actions},
	}
	return encode(m, d.head())
}

// head is the comment on top of the pack.
func (d *Draft) head() string {
	left := ""
	if d.LeftOut > 0 {
		left = fmt.Sprintf("# %d more operations fit and were left out: see --select and --max-actions.\n", d.LeftOut)
	}
	return fmt.Sprintf(`# Drafted by "plugfn provider generate" of %s with %d operations.
# What is marked "guessed" was read off names and methods: look at it before you rely on it.
%s`, clip(d.Kind, 40), d.Operations, left)
}

func (d *Draft) authMembers() []members {
	var all []members
	for _, b := range d.auth {
		all = append(all, b.members())
	}
	return all
}

func (b authBlock) members() members {
	m := members{{key: "id", value: b.id}}
	add := func(key string, value any) { m = append(m, member{key: key, value: value}) }
	apply := func(header, value string) {
		add("apply", members{{key: "header", value: header}, {key: "value", value: value}})
	}
	s := b.scheme
	switch s.kind {
	case "":
		add("type", "none")
		return m
	case schemeBasic:
		add("type", "basic")
	case schemeBearer:
		add("type", "api_key")
		apply("Authorization", "Bearer {{credential.token}}")
		add("fields", []members{{{key: "name", value: "token"}, {key: "label", value: "Access token"}}})
	case schemeKey:
		add("type", "api_key")
		if s.in == "query" {
			add("apply", members{{key: "query", value: s.name}, {key: "value", value: "{{credential.token}}"}})
		} else {
			apply(s.name, s.prefix+"{{credential.token}}")
		}
	case schemeOAuth:
		add("type", "oauth2")
		authorize := members{{key: "url", value: s.authorize}}
		if s.offline {
			authorize = append(authorize, member{key: "params", value: map[string]string{"access_type": "offline", "prompt": "consent"}})
		}
		add("authorize", authorize)
		m = append(m, member{key: "token", value: members{{key: "url", value: s.token}, {key: "client_auth", value: "post", comment: "guessed: basic, post or none"}}})
	case schemeClient:
		add("type", "client_credentials")
		m = append(m, member{key: "token", value: members{{key: "url", value: s.token}, {key: "client_auth", value: "basic", comment: "guessed: basic, post or none"}}})
	}
	if len(b.scopes) > 0 {
		add("default_scopes", b.scopes)
	}
	if s.revoke != "" {
		add("revoke", members{{key: "url", value: s.revoke}})
	}
	if s.hint != "" {
		add("hint", s.hint)
	}
	return m
}

func (d *Draft) httpMembers() members {
	m := members{
		{key: "base_url", value: d.base},
		{key: "errors", comment: "guessed", value: []members{
			{{key: "when", value: "status == 401"}, {key: "code", value: "needs_reauth"}},
			{{key: "when", value: "status == 429"}, {key: "code", value: "rate_limited"}, {key: "retry_after", value: "header:Retry-After"}},
		}},
	}
	if d.message != "" {
		m = append(m, member{key: "error", value: members{{key: "message", value: "json:" + d.message, comment: "guessed"}}})
	}
	return m
}

func (act *Action) members(levels int) members {
	m := members{{key: "summary", value: act.op.summary}}
	add := func(key string, value any) { m = append(m, member{key: key, value: value}) }
	if act.op.docs != "" {
		add("docs", act.op.docs)
	}
	m = append(m, member{key: "effect", value: act.Effect, comment: "guessed from " + act.Method})
	if len(act.scopes) > 0 {
		add("scopes", act.scopes)
	}
	add("params", prune(act.params, levels))
	add("request", act.requestMembers())
	if act.file {
		add("response", "file")
	}
	if act.pages != nil {
		m = append(m, member{key: "paginate", value: act.pages.members(), comment: "guessed"})
	}
	if len(act.sensitive) > 0 {
		m = append(m, member{key: "sensitive", value: act.sensitive, comment: "guessed"})
	}
	return m
}

func (act *Action) requestMembers() members {
	m := members{{key: "method", value: act.Method}, {key: "path", value: act.place.path}}
	if len(act.place.query) > 0 {
		m = append(m, member{key: "query", value: act.place.query})
	}
	if len(act.place.headers) > 0 {
		m = append(m, member{key: "headers", value: act.place.headers})
	}
	if act.encoding != "" {
		body := members{{key: "encoding", value: act.encoding}}
		if act.fileParam != "" {
			body = append(body, member{key: "file", value: act.fileParam})
		}
		m = append(m, member{key: "body", value: body})
	}
	return m
}

func (p *pages) members() members {
	m := members{{key: "type", value: p.kind}}
	if p.kind != "link" {
		m = append(m, member{key: "param", value: p.param})
	}
	if p.size != "" {
		m = append(m, member{key: "size", value: p.size})
	}
	if p.next != "" {
		m = append(m, member{key: "next", value: "json:" + p.next})
	}
	if p.last != "" {
		m = append(m, member{key: "last", value: "json:" + p.last}, member{key: "more", value: "json:" + p.more})
	}
	if p.items != "" {
		m = append(m, member{key: "items", value: "json:" + p.items})
	}
	if p.kind == "page" && p.first != 1 {
		m = append(m, member{key: "first", value: p.first})
	}
	return m
}

// prune is a schema of which only so many levels are kept.
func prune(schema object, levels int) object {
	out := object{}
	for key, v := range schema {
		out[key] = v
	}
	properties := object{}
	for name, v := range objectOf(schema["properties"]) {
		inner := objectOf(v)
		if levels <= 1 {
			inner = shallow(inner)
		} else {
			inner = prune(inner, levels-1)
		}
		properties[name] = inner
	}
	if len(properties) > 0 || schema["additionalProperties"] == false {
		out["properties"] = properties
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner := objectOf(schema[key]); len(inner) > 0 {
			if out[key] = prune(inner, levels-1); levels <= 1 {
				out[key] = shallow(inner)
			}
		}
	}
	if variants := listOf(schema["anyOf"]); len(variants) > 0 && levels <= 2 {
		delete(out, "anyOf")
	}
	return out
}

// shallow keeps what a schema says of the value itself.
func shallow(schema object) object {
	out := maps.Clone(schema)
	for _, key := range []string{"properties", "required", "items", "additionalProperties", "anyOf", "minProperties"} {
		delete(out, key)
	}
	if text := textOf(out["description"]); len(text) > 80 {
		out["description"] = clip(text, 80)
	}
	return out
}

// Report is what a person reads about the draft, one line each.
func (d *Draft) Report() []string {
	lines := []string{fmt.Sprintf("%s: %d actions of %d operations (%s)", d.Name, len(d.Actions), d.Operations, d.Kind)}
	if d.LeftOut > 0 {
		lines = append(lines, fmt.Sprintf("%d more operations fit: choose with --select, or raise --max-actions", d.LeftOut))
	}
	byText := map[string][]string{}
	var order []string
	for _, n := range d.Notes {
		if byText[n.Text] == nil {
			order = append(order, n.Text)
		}
		byText[n.Text] = append(byText[n.Text], n.At)
	}
	for _, text := range order {
		at := slices.Compact(byText[text])
		where := strings.Join(at[:min(3, len(at))], ", ")
		if len(at) > 3 {
			where += fmt.Sprintf(" and %d more", len(at)-3)
		}
		lines = append(lines, where+": "+text)
	}
	return lines
}
