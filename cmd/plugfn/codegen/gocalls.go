package codegen

import (
	"fmt"
	"strconv"
	"strings"
)

// goActions writes the methods.
func goActions(api *API, f *goFile) {
	for i := range api.Root.Actions {
		goAction(&api.Root.Actions[i], "*Client", f)
	}
	for i := range api.Root.Groups {
		goGroup(&api.Root.Groups[i], "", f)
	}
}

func goGroup(g *Group, above string, f *goFile) {
	wire := above + g.Name.Wire
	f.line("// %s has the actions of %s.\ntype %s struct {", g.Type, wire, g.Type)
	goGroupFields(g, f)
	f.line("}\n")
	for i := range g.Actions {
		goAction(&g.Actions[i], g.Type, f)
	}
	for i := range g.Groups {
		goGroup(&g.Groups[i], wire+".", f)
	}
}

func goAction(a *Action, receiver string, f *goFile) {
	f.use("context", "")
	data := goData(&a.Data, f)
	request := fmt.Sprintf("%s{User: user, Action: %s, Params: params}", f.use(sdkPath, "plugfn.Request"), a.Const)
	f.doc("", fmt.Sprintf("%s is %s: %s. %s", a.Name.Code, a.Name.Wire, strings.TrimSuffix(a.Summary, "."), a.Repeat), scopesText(a.Scopes), docsText(a.Docs))
	f.line("func (a %s) %s(ctx context.Context, user string, params %s, set ...plugfn.Setting) (plugfn.Answer[%s], error) {", receiver, a.Name.Code, a.Params.Name, data)
	f.line("\treturn plugfn.Call[%s](ctx, a.client, %s, set...)\n}\n", data, request)
	if a.All == "" {
		return
	}
	item := goData(&a.Item, f)
	f.doc("", fmt.Sprintf("%s yields the items of all pages of %s, each page when it is needed. An error is the last thing that it yields.", a.All, a.Name.Code))
	f.line("func (a %s) %s(ctx context.Context, user string, params %s, set ...plugfn.Setting) %s[%s, error] {", receiver, a.All, a.Params.Name, f.use("iter", "iter.Seq2"), item)
	f.line("\treturn plugfn.Each[%s](ctx, a.client, %s, %s, set...)\n}\n", item, request, strconv.Quote(a.Items))
}

func scopesText(scopes []string) string {
	if len(scopes) == 0 {
		return ""
	}
	return plain("Scopes: " + strings.Join(scopes, ", "))
}

func docsText(docs string) string {
	if docs == "" {
		return ""
	}
	return "See " + docs
}

// goEvents writes the functions that listen.
func goEvents(api *API, f *goFile) {
	for _, t := range api.Triggers {
		f.use("context", "")
		payload := goData(&t.Payload, f)
		f.use(sdkPath, "")
		f.doc("",
			fmt.Sprintf("%s calls handle for each %s, as the Events of the client does: %s. The Provider and the Event of the filter are set here.", t.On, t.Name.Wire, strings.TrimSuffix(t.Summary, ".")),
			scopesText(t.Scopes), docsText(t.Docs))
		f.line("func %s(ctx context.Context, client *plugfn.Client, f plugfn.Filter, handle func(context.Context, *plugfn.Received[%s]) error) error {", t.On, payload)
		f.line("\tf.Provider, f.Event = Provider, %s", t.Const)
		f.line("\treturn plugfn.On(ctx, client, f, handle)\n}\n")
	}
}

// goData is the type of data at its outermost.
func goData(t *Type, f *goFile) string {
	if t.Null && t.Kind != Any && t.Kind != List && t.Kind != Map {
		return "*" + goType(t, false, f)
	}
	return goType(t, false, f)
}
