package codegen

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// share has definitions of one name that say the same be one type. Where they say
// different things, each is called after where it is from as well.
func (b *builder) share() {
	one := map[*Def]*Def{}
	for _, name := range slices.Sorted(maps.Keys(b.shared)) {
		first := map[string]*Def{} // :: what it says → who said it first
		for _, d := range b.shared[name] {
			says := says(d)
			if _, ok := first[says]; !ok {
				first[says] = d
			}
			one[d] = first[says]
		}
		if len(first) == 1 {
			continue
		}
		for _, d := range first {
			d.wanted = d.owner + d.wanted
		}
	}
	seen := map[*Def]bool{}
	for _, root := range b.roots() {
		replace(root, one, seen)
	}
}

// roots are where all types begin.
func (b *builder) roots() []*Type {
	var all []*Type
	for _, a := range b.actions {
		all = append(all, &Type{Kind: Object, Def: a.Params}, &a.Data, &a.Item)
	}
	for i := range b.api.Triggers {
		all = append(all, &b.api.Triggers[i].Payload)
	}
	return all
}

func replace(t *Type, one map[*Def]*Def, seen map[*Def]bool) {
	if t.Elem != nil {
		replace(t.Elem, one, seen)
	}
	if t.Def == nil {
		return
	}
	if same, ok := one[t.Def]; ok {
		t.Def = same
	}
	if seen[t.Def] {
		return
	}
	seen[t.Def] = true
	for i := range t.Def.Fields {
		replace(&t.Def.Fields[i].Type, one, seen)
	}
}

// says is all that a definition says, as a text.
func says(d *Def) string {
	var b strings.Builder
	write(&b, d, map[*Def]int{})
	return b.String()
}

func write(b *strings.Builder, d *Def, seen map[*Def]int) {
	if n, ok := seen[d]; ok {
		fmt.Fprintf(b, "<%d>", n)
		return
	}
	seen[d] = len(seen)
	fmt.Fprintf(b, "{%t %t %q", d.Params, d.Open, d.Values)
	for _, f := range d.Fields {
		fmt.Fprintf(b, " %q %q %t ", f.Name, f.Doc, f.Required)
		writeType(b, &f.Type, seen)
	}
	b.WriteString("}")
}

func writeType(b *strings.Builder, t *Type, seen map[*Def]int) {
	fmt.Fprintf(b, "%d %t %t %q %t", t.Kind, t.Null, t.Zero, t.Only, t.Loop)
	if t.Elem != nil {
		writeType(b, t.Elem, seen)
	}
	if t.Def != nil {
		write(b, t.Def, seen)
	}
}

// collect lists the definitions that are led to, in the order of the actions and
// the events.
func (b *builder) collect() {
	seen := map[*Def]bool{}
	var visit func(t *Type)
	visit = func(t *Type) {
		if t.Elem != nil {
			visit(t.Elem)
		}
		if t.Def == nil || seen[t.Def] {
			return
		}
		seen[t.Def] = true
		b.api.Types = append(b.api.Types, t.Def)
		for i := range t.Def.Fields {
			visit(&t.Def.Fields[i].Type)
		}
	}
	for _, root := range b.roots() {
		visit(root)
	}
}

// name gives a name to all that has one in code: first to what an application
// writes most.
func (b *builder) name() {
	b.group()
	for i := range b.api.Triggers {
		t := &b.api.Triggers[i]
		t.Name.Code = exported(t.Name.Wire)
		t.On = b.names.take("On" + t.Name.Code)
	}
	for _, rank := range []int{0, 1, 2} {
		for _, d := range b.api.Types {
			if b.rank(d) == rank {
				d.Name = b.names.take(d.wanted)
			}
		}
	}
	for _, d := range b.api.Types {
		for i := range d.Values {
			d.Values[i].Code = b.names.take(d.Name + d.Values[i].Code)
		}
	}
	b.nameActions(&b.api.Root)
	for i := range b.api.Triggers {
		t := &b.api.Triggers[i]
		t.Const = b.names.take("Event" + t.Name.Code)
		t.Subject.Code = b.names.take("Subject" + t.Const)
	}
	var scopes []string
	for _, a := range b.actions {
		scopes = append(scopes, a.Scopes...)
	}
	for _, t := range b.api.Triggers {
		scopes = append(scopes, t.Scopes...)
	}
	slices.Sort(scopes)
	for _, scope := range slices.Compact(scopes) {
		b.api.Scopes = append(b.api.Scopes, Name{b.names.take("Scope" + exported(scope)), scope})
	}
}

// rank is in which turn a definition gets its name: parameters and payloads before
// what is shared, and that before what is inside.
func (b *builder) rank(d *Def) int {
	for _, a := range b.actions {
		if a.Params == d {
			return 0
		}
	}
	for _, t := range b.api.Triggers {
		if t.Payload.Def == d {
			return 0
		}
	}
	if d.shared {
		return 1
	}
	return 2
}

// group puts the actions where their names say.
func (b *builder) group() {
	for _, a := range b.actions {
		parts := strings.Split(a.Name.Wire, ".")
		at := &b.api.Root
		for i, part := range parts[:len(parts)-1] {
			found := slices.IndexFunc(at.Groups, func(g Group) bool { return g.Name.Wire == part })
			if found < 0 {
				full := exported(strings.Join(parts[:i+1], "."))
				at.Groups = append(at.Groups, Group{Name: Name{Wire: part}, Type: b.names.take(full + "Actions")})
				found = len(at.Groups) - 1
			}
			at = &at.Groups[found]
		}
		at.Actions = append(at.Actions, *a)
	}
	nameFields(&b.api.Root)
}

// nameFields names the fields and the methods of a group, which share their names.
func nameFields(g *Group) {
	taken := names{}
	for i := range g.Groups {
		g.Groups[i].Name.Code = taken.take(exported(g.Groups[i].Name.Wire))
		nameFields(&g.Groups[i])
	}
	for i := range g.Actions {
		a := &g.Actions[i]
		a.Name.Code = taken.take(exported(a.Name.Wire[strings.LastIndexByte(a.Name.Wire, '.')+1:]))
	}
	for i := range g.Actions {
		if a := &g.Actions[i]; a.All != "" {
			a.All = taken.take(a.Name.Code + a.All)
		}
	}
}

func (b *builder) nameActions(g *Group) {
	for i := range g.Actions {
		a := &g.Actions[i]
		a.Const = b.names.take("Action" + exported(a.Name.Wire))
		a.Subject.Code = b.names.take("Subject" + a.Const)
	}
	for i := range g.Groups {
		b.nameActions(&g.Groups[i])
	}
}
