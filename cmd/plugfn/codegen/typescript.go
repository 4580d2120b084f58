package codegen

import (
	"encoding/json"
	"fmt"
	"strings"
)

// TypeScript writes a declaration file: types alone, which nothing remains of when
// a program runs.
func TypeScript(api *API) []byte {
	f := &goFile{}
	f.line("%s", Mark)
	f.line("//")
	f.doc("", fmt.Sprintf("What %s offers through PlugFn.", api.Title), docsText(api.Docs))
	f.line("")
	tsActions(api, f)
	tsEvents(api, f)
	f.line("/** The scopes that actions and events need. */\nexport type Scope = %s;\n", tsUnion(api.Scopes))
	for _, d := range api.Types {
		if d.IsEnum() {
			f.jsdoc("", d.Doc)
			f.line("export type %s = %s;\n", d.Name, tsUnion(d.Values))
			continue
		}
		tsInterface(d, f)
	}
	return []byte(strings.TrimRight(f.String(), "\n") + "\n")
}

// jsdoc writes paragraphs as a comment that editors show.
func (f *goFile) jsdoc(indent string, paragraphs ...string) {
	var lines []string
	for _, p := range paragraphs {
		if p != "" {
			lines = append(lines, wrapped(strings.ReplaceAll(p, "*/", "* /"))...)
		}
	}
	switch len(lines) {
	case 0:
	case 1:
		f.line("%s/** %s */", indent, lines[0])
	default:
		f.line("%s/**", indent)
		for _, line := range lines {
			f.line("%s * %s", indent, line)
		}
		f.line("%s */", indent)
	}
}

func tsActions(api *API, f *goFile) {
	f.line("/** What each action takes and gives back. */\nexport interface Actions {")
	tsActionsOf(&api.Root, api.Provider, f)
	f.line("}\n")
	f.line(`/** The name of an action. */
export type Action = keyof Actions;

/** The subject to which a request is published: the parameters are its body. */
export type ActionSubject<User extends string = string> = { [A in Action]: %s }[Action];

/** How one request ended. */
export interface Result<A extends Action = Action> {
  id: string;
  user_id: string;
  connection_id?: string;
  outcome: "succeeded" | "failed" | "unknown";
  /** Of a success; absent where it is too long for a message, see dataref. */
  data?: Actions[A]["data"];
  dataref?: StoredFile;
  error?: { code: string; message: string; status?: number; provider_code?: string; request_id?: string; retryable: boolean; retry_at?: string };
  attempts: number;
  cached: boolean;
  /** Whether a list has further pages. */
  more?: boolean;
  /** The parameters to change for the page after this one. */
  next?: Partial<Actions[A]["params"]>;
  started_at: string;
  finished_at: string;
  duration_ms: number;
}

/** What PlugFn keeps beside a message. */
export interface StoredFile {
  name?: string;
  content_type?: string;
  [member: string]: unknown;
}
`, "`plugfn.action.${User}.${A}`")
}

func tsActionsOf(g *Group, provider string, f *goFile) {
	for i := range g.Actions {
		a := &g.Actions[i]
		f.jsdoc("  ", strings.TrimSuffix(a.Summary, ".")+". "+a.Repeat, scopesText(a.Scopes), docsText(a.Docs))
		f.line("  %s: { params: %s; data: %s };", tsText(provider+"."+a.Name.Wire), a.Params.Name, tsType(&a.Data))
	}
	for i := range g.Groups {
		tsActionsOf(&g.Groups[i], provider, f)
	}
}

func tsEvents(api *API, f *goFile) {
	f.line("/** The payload of each event. Others are delivered as well. */\nexport interface Events {")
	for i := range api.Triggers {
		t := &api.Triggers[i]
		f.jsdoc("  ", t.Summary, scopesText(t.Scopes), docsText(t.Docs))
		f.line("  %s: %s;", tsText(t.Name.Wire), tsType(&t.Payload))
	}
	f.line("}\n\n/** The name of an event. */\nexport type Event = keyof Events;\n")
	f.line("/** The subject of an event; * as the user stands for all of them. */")
	f.line("export type EventSubject<User extends string = string> = { [E in Event]: `plugfn.event.${User}.%s.${E}` }[Event];\n", api.Provider)
}

// tsUnion is one of some texts.
func tsUnion(values []Name) string {
	if len(values) == 0 {
		return "never"
	}
	var all []string
	for _, v := range values {
		all = append(all, tsText(v.Wire))
	}
	return strings.Join(all, " | ")
}

func tsText(s string) string {
	text, _ := json.Marshal(s) // a text has a JSON, which is one of JavaScript
	return string(text)
}

func tsInterface(d *Def, f *goFile) {
	f.jsdoc("", d.Doc)
	f.line("export interface %s {", d.Name)
	for i := range d.Fields {
		field := &d.Fields[i]
		f.jsdoc("  ", field.Doc)
		optional := ""
		if !field.Required {
			optional = "?"
		}
		f.line("  %s%s: %s;", tsText(field.Name.Wire), optional, tsType(&field.Type))
	}
	if d.Open {
		f.line("  [member: string]: unknown;")
	}
	f.line("}\n")
}

func tsType(t *Type) string {
	text := tsPlain(t)
	if t.Null && t.Kind != Any {
		text += " | null"
	}
	return text
}

func tsPlain(t *Type) string {
	switch t.Kind {
	case Text:
		if t.Only != "" {
			return tsText(t.Only)
		}
		return "string"
	case Time:
		return "string"
	case Flag:
		return "boolean"
	case Integer, Number:
		return "number"
	case List:
		return "Array<" + tsType(t.Elem) + ">"
	case Map:
		return "Record<string, " + tsType(t.Elem) + ">"
	case Object, Enum:
		return t.Def.Name
	case File:
		return "StoredFile"
	default:
		return "unknown"
	}
}
