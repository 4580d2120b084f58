package providers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/expression"
	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"go.yaml.in/yaml/v3"
)

// The fields of templates that belong to finding a write again.
const (
	keyField   = "key"
	markField  = "mark"
	sinceField = "since"
	itemField  = "item"
)

const (
	defaultFindAfter = 10 * time.Second
	defaultFindLooks = 3
	maxFindLooks     = 10
	// sinceMargin is how much earlier than the first attempt a write may seem
	// to be, by the provider's clock.
	sinceMargin = time.Minute
)

// Find is a read that shows whether a write was carried out. A provider may
// need a while to list what it has just made, so it is asked several times, and
// only the last time counts as proof that nothing is there.
type Find struct {
	When   Match                   `yaml:"when"`   // fields: params; empty: always
	Action string                  `yaml:"action"` // a read of the pack that lists
	Params map[string]JSONTemplate `yaml:"params"` // its parameters; fields: params.*, key, since
	Items  Source                  `yaml:"items"`  // json:/pointer to the list in the body; empty: the body is the list
	Match  Match                   `yaml:"match"`  // fields: item, key, params, since, since_unix
	// Complete holds where the list is whole: in one that is not, a write that
	// is not there may be on the next page, and nothing is proved. Fields as in
	// HTTP.Success; empty: it always is.
	Complete Predicate     `yaml:"complete"`
	Result   JSONTemplate  `yaml:"result"` // the action's data; fields: item, item.*, params.*; empty: the item
	After    time.Duration `yaml:"after"`  // from the attempt to the first look, doubled for each further one; 0: 10 s
	Looks    int           `yaml:"looks"`  // 0: 3

	action *Action
}

// Match is a condition on an item of a list, in the language of [Predicate].
// Its fields are item, params (decoded JSON), key (text), since (the time of the
// first attempt, RFC 3339 in UTC, with a margin) and since_unix (the same in
// seconds). A condition that cannot be evaluated is false.
type Match struct {
	text    string
	program *expression.Program
}

type candidate struct {
	Item      any            `expr:"item"`
	Params    map[string]any `expr:"params"`
	Key       string         `expr:"key"`
	Since     string         `expr:"since"`
	SinceUnix int            `expr:"since_unix"`
}

// UnmarshalYAML compiles the condition.
func (m *Match) UnmarshalYAML(node *yaml.Node) error {
	text, err := scalarText(node)
	if err != nil {
		return err
	}
	program, err := compilePredicate(text, candidate{})
	if err != nil {
		return atLine(node, "%w", err)
	}
	*m = Match{text: text, program: program}
	return nil
}

// IsZero reports whether there is no condition.
func (m Match) IsZero() bool { return m.program == nil }

// String returns the condition as it was written.
func (m Match) String() string { return m.text }

func (m Match) holds(c candidate) bool { return isTrue(m.program, c) }

func candidateOf(params map[string]any, key string, first time.Time) candidate {
	since := first.Add(-sinceMargin).UTC()
	copied, _ := expression.Numbers(decodeBody(rawOf(params))).(map[string]any)
	return candidate{Params: copied, Key: key, Since: since.Format(time.RFC3339), SinceUnix: int(since.Unix())}
}

// findFor is the find that is meant for a request.
func (a *Action) findFor(c candidate) (*Find, bool) {
	if a.Idempotency == nil {
		return nil, false
	}
	for i := range a.Idempotency.Find {
		if f := &a.Idempotency.Find[i]; f.When.IsZero() || f.When.holds(c) {
			return f, true
		}
	}
	return nil, false
}

// Look is the search for a write that may have been carried out. It is for one
// goroutine: it knows which page it has asked for last.
type Look struct {
	find   *Find
	params map[string]any
	on     candidate
	asked  json.RawMessage // the parameters of the last request
}

// Look returns the search for a request of an action with effect reconcile,
// given the key that it bore and when it was first sent. It reports false where
// [Action.EffectOf] is not reconcile.
func (a *Action) Look(params json.RawMessage, key string, first time.Time) (*Look, bool) {
	object, err := parseParams(params)
	if err != nil || a.EffectOf(params) != EffectReconcile {
		return nil, false
	}
	on := candidateOf(object, key, first)
	f, ok := a.findFor(on)
	return &Look{find: f, params: object, on: on}, ok
}

// After is how long after an attempt the nth look makes sense, from 1. It
// reports false when no look is left: then the write is not there.
func (l *Look) After(n int) (time.Duration, bool) {
	if n > cmp.Or(l.find.Looks, defaultFindLooks) {
		return 0, false
	}
	return cmp.Or(l.find.After, defaultFindAfter) << (n - 1), true
}

// Action is the read that the search consists of.
func (l *Look) Action() *Action { return l.find.action }

// NewRequest makes the request of the search, as [Action.NewRequest] does.
func (l *Look) NewRequest(ctx context.Context, base string, cred Credential) (*http.Request, error) {
	fields := valueAt(l.params, nil, map[string]any{keyField: l.on.Key, sinceField: l.on.Since})
	params := map[string]any{}
	for name, template := range l.find.Params {
		if v, ok := template.fill(fields); ok {
			params[name] = v
		}
	}
	raw := rawOf(params)
	if err := l.find.action.Validate(raw); err != nil {
		return nil, errors.New("the parameters of the search break the schema of its action")
	}
	l.asked = raw
	return l.find.action.NewRequest(ctx, base, raw, cred)
}

// NewNextRequest makes the request for the page that [Found.Next] leads to, as
// [Action.NewNextRequest] does.
func (l *Look) NewNextRequest(ctx context.Context, base string, next *Next, cred Credential) (*http.Request, error) {
	l.asked = next.With()
	return l.find.action.NewNextRequest(ctx, base, next, cred)
}

// Found is what a search came to.
type Found struct {
	Data json.RawMessage // of the write, nil: it is not in the list
	// Complete is whether the list was whole, with the pages of before, so that
	// what is not in it is not there.
	Complete bool
	Next     *Next // where the list goes on, if it is not whole; nil: nobody can say
}

// Read looks for the write in the response of the search. Its errors are those
// of [Action.Read]; the caller closes the body.
func (l *Look) Read(resp *http.Response) (Found, error) {
	a := l.find.action
	limit := a.MaxResponse()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Found{}, err
	}
	r := response{http: &a.pack.HTTP, status: resp.StatusCode, header: resp.Header, raw: bytes.TrimSpace(raw)}
	if int64(len(raw)) > limit {
		return Found{}, r.tooLong(a.Effect, limit)
	}
	if !r.succeeded() {
		return Found{}, r.failure()
	}
	list, ok := follow(decodeBody(r.raw), l.find.Items.pointer)
	items, isList := list.([]any)
	if !ok || !isList {
		return Found{}, nil
	}
	for _, item := range items {
		on := l.on
		on.Item = expression.Numbers(decodeBody(rawOf(item))) // a copy: it changes what it is given
		if l.find.Match.holds(on) {
			return Found{Data: l.data(item), Complete: true}, nil
		}
	}
	if l.find.Complete.IsZero() || r.holds(l.find.Complete) {
		return Found{Complete: true}, nil
	}
	return Found{Next: l.next(&r, resp.Request)}, nil
}

// next finds the page after the one that r is.
func (l *Look) next(r *response, asked *http.Request) *Next {
	a := l.find.action
	if a.Paginate == nil {
		return nil
	}
	params, err := parseParams(l.asked)
	if err != nil {
		return nil
	}
	return a.next(r, r.data(a.Result), params, asked)
}

// data is what the write would have given back.
func (l *Look) data(item any) json.RawMessage {
	if l.find.Result.IsZero() {
		return rawOf(item)
	}
	v, _ := l.find.Result.fill(valueAt(l.params, item, nil))
	return rawOf(v)
}

func (f *Find) check(path string, of *Action, r report) {
	f.action = of.pack.Actions[f.Action]
	switch {
	case f.action == nil:
		r(path+".action", "is no action of the pack%s", nearest.Hint(f.Action, maps.Keys(of.pack.Actions)))
		return
	case f.action.Effect != EffectRead:
		r(path+".action", "must have effect: %s", EffectRead)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Params)) {
		f.checkParam(path+".params."+name, name, of, r)
	}
	if f.Match.IsZero() {
		r(path+".match", "is missing")
	}
	if !f.Items.IsZero() && f.Items.kind != sourceJSON {
		r(path+".items", "must be json:/pointer")
	}
	for _, field := range f.Result.fields() {
		if field != itemField && !strings.HasPrefix(field, itemField+".") && !of.isParam(field) {
			r(path+".result", "{{%s}} is not known here, only {{item}}, {{item.NAME}} and {{params.NAME}}", field)
		}
	}
	if f.Looks < 0 || f.Looks > maxFindLooks {
		r(path+".looks", "must be from 1 to %d", maxFindLooks)
	}
	checkTimeout(path+".after", f.After, r)
}

func (f *Find) checkParam(path, name string, of *Action, r report) {
	properties := map[string]any{}
	if f.action.Params != nil {
		properties = f.action.Params.properties()
	}
	if _, ok := properties[name]; !ok {
		r(path, "is no parameter of %s%s", f.Action, nearest.Hint(name, maps.Keys(properties)))
	}
	for _, field := range f.Params[name].fields() {
		if field != keyField && field != sinceField && !of.isParam(field) {
			r(path, "{{%s}} is not known here, only {{params.NAME}}, {{key}} and {{since}}", field)
		}
	}
}

// isParam reports whether a field of a template is a parameter of the action.
func (a *Action) isParam(field string) bool {
	name, ok := strings.CutPrefix(field, "params.")
	_, known := a.Params.properties()[name]
	return ok && known
}
