package codegen

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Read makes the form in between from a pack.
func Read(pack *providers.Pack) (*API, error) {
	b := &builder{api: &API{
		Provider: pack.Name, Title: plain(pack.Display.Name), Docs: plain(pack.Display.Docs),
	}, pack: pack, names: reserved(), shared: map[string][]*Def{}}
	for _, name := range slices.Sorted(maps.Keys(pack.Actions)) {
		if err := b.action(pack.Actions[name]); err != nil {
			return nil, fmt.Errorf("action %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pack.Triggers)) {
		if err := b.trigger(pack.Triggers[name]); err != nil {
			return nil, fmt.Errorf("event %s: %w", name, err)
		}
	}
	b.share()
	b.collect()
	b.name()
	return b.api, nil
}

// builder makes one API.
type builder struct {
	api     *API
	pack    *providers.Pack
	names   names
	data    *reader // of the pack's data; nil: not begun
	actions []*Action
	shared  map[string][]*Def // :: name in $defs → what has it
}

func (b *builder) action(a *providers.Action) error {
	full := exported(a.Name)
	r, s, err := newReader(a.Params.JSON())
	if err != nil {
		return err
	}
	r.params, r.prefix = true, full
	params := r.define(full+"Params", "")
	r.fill(params, s, full, 0)
	for i := range params.Fields {
		switch f := &params.Fields[i]; {
		case f.Name.Wire == a.FileParam():
			f.Type = Type{Kind: File}
		case a.Effect == providers.EffectRead && f.Type.Kind == Text:
			f.Type.Zero = false // an empty text in a question asks for nothing
		}
	}
	data, err := b.dataOf(a, full)
	if err != nil {
		return err
	}
	one := &Action{
		Name:    Name{Wire: a.Name},
		Subject: Name{Wire: everyone(events.ActionSubject(anybody, b.pack.Name, a.Name))},
		Summary: plain(a.Summary), Docs: plain(a.Docs), Repeat: repeatOf(a.Effect), Scopes: a.Scopes, Params: params, Data: data,
	}
	if a.Paginate != nil {
		one.All, one.Items = "All", a.Paginate.ItemsPointer()
		one.Item = inside(data, one.Items)
	}
	b.add(r.made)
	b.actions = append(b.actions, one)
	return nil
}

// dataOf is the type of what an action gives back.
func (b *builder) dataOf(a *providers.Action, full string) (Type, error) {
	if a.GivesFile() {
		return Type{Kind: File}, nil
	}
	own := a.DataSchema()
	if own == nil {
		return Type{Null: true}, nil
	}
	if b.data == nil {
		r, _, err := newReader(b.pack.Data.JSON())
		if err != nil {
			return Type{}, err
		}
		r.prefix, b.data = "Data", r
	}
	before := len(b.data.made)
	s := &schema{}
	if err := json.Unmarshal(own, s); err != nil {
		return Type{}, fmt.Errorf("reading the schema of its data: %w", err)
	}
	t := b.data.typeOf(s, full+"Data", 0)
	b.add(b.data.made[before:])
	return t, nil
}

// inside is the type at a JSON pointer to a list: that of its items.
func inside(t Type, pointer string) Type {
	for _, token := range strings.Split(pointer, "/")[1:] {
		if t.Kind != Object {
			return Type{Null: true}
		}
		i := slices.IndexFunc(t.Def.Fields, func(f Field) bool { return f.Name.Wire == token })
		if i < 0 {
			return Type{Null: true}
		}
		t = t.Def.Fields[i].Type
	}
	if t.Kind != List {
		return Type{Null: true}
	}
	return *t.Elem
}

func (b *builder) trigger(t *providers.Trigger) error {
	full := exported(t.Name)
	one := Trigger{
		Name:    Name{Wire: t.Name},
		Subject: Name{Wire: everyone(events.EventSubject(anybody, b.pack.Name, t.Name))},
		Summary: plain(t.Summary), Docs: plain(t.Docs), Scopes: t.Scopes, Payload: Type{Null: true},
	}
	if t.Schema != nil {
		r, s, err := newReader(t.Schema.JSON())
		if err != nil {
			return err
		}
		r.prefix = full
		one.Payload = r.typeOf(s, full, 0)
		b.add(r.made)
	}
	b.api.Triggers = append(b.api.Triggers, one)
	return nil
}

// anybody stands for the user of a subject, until it is all of them.
const anybody = "anybody"

func everyone(subject string) string { return strings.Replace(subject, "."+anybody+".", ".*.", 1) }

// repeatOf says what an effect means to who calls.
func repeatOf(e providers.Effect) string {
	switch e {
	case providers.EffectRead:
		return "It changes nothing."
	case providers.EffectIdempotent:
		return "To do it again changes nothing more."
	case providers.EffectKeyed, providers.EffectReconcile:
		return "For one id it is carried out once, also where an answer was lost."
	default:
		return "Where an answer was lost, the outcome is unknown: it is not sent twice."
	}
}

func (b *builder) add(made []*Def) {
	for _, d := range made {
		if d.shared {
			b.shared[d.wanted] = append(b.shared[d.wanted], d)
		}
	}
}
