package machine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/expression"
	"github.com/plugfn/plugfn/pkg/workflow"
)

func null() json.RawMessage { return json.RawMessage("null") }

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func decode(data json.RawMessage) (any, error) {
	if len(data) == 0 {
		return nil, nil
	}
	return expression.Decode(data)
}

func decodeValues(data json.RawMessage) ([]*Value, error) {
	var all []*Value
	err := json.Unmarshal(data, &all)
	return all, err
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// keep makes a value of a state.
func (w *walker) keep(v any, longest int) Value {
	data, err := encode(v)
	if err != nil {
		data = null() // what expressions give is JSON
	}
	return w.keepJSON(data, longest)
}

func (w *walker) keepJSON(data json.RawMessage, longest int) Value {
	if len(data) == 0 {
		data = null()
	}
	if len(data) <= longest {
		return Value{JSON: data}
	}
	return Value{Ref: w.store(data)}
}

// store keeps data by reference.
func (w *walker) store(data json.RawMessage) string {
	sum := sha256.Sum256(data)
	ref := hex.EncodeToString(sum[:])
	if _, ok := w.kept[ref]; !ok {
		w.kept[ref] = data
		w.do(Keep{Ref: ref, Data: data})
	}
	return ref
}

// raw is the JSON of a value; not ok when it is missing.
func (w *walker) raw(v Value) (json.RawMessage, bool) {
	if v.Ref == "" {
		return v.JSON, true
	}
	if data, ok := w.kept[v.Ref]; ok {
		return data, true
	}
	if data, ok := w.payloads[v.Ref]; ok {
		return data, true
	}
	if w.missing == nil {
		w.missing = map[string]bool{}
	}
	w.missing[v.Ref] = true
	return nil, false
}

// load decodes a value; not ok when it is missing.
func (w *walker) load(v Value) (any, bool) {
	data, ok := w.raw(v)
	if !ok {
		return nil, false
	}
	decoded, err := decode(data)
	return decoded, err == nil
}

func (w *walker) template(t *workflow.Template, f frame) (any, *Failure) {
	return w.templateAt(t, f, w.now)
}

func (w *walker) templateAt(t *workflow.Template, f frame, now time.Time) (any, *Failure) {
	values := w.values(t.Expressions(), f, now)
	if len(w.missing) > 0 {
		return nil, nil
	}
	v, err := t.Eval(values)
	return v, failureOf(err)
}

func (w *walker) object(params map[string]*workflow.Template, f frame, now time.Time) (map[string]any, *Failure) {
	object := make(map[string]any, len(params))
	for _, name := range sorted(params) {
		v, fail := w.templateAt(params[name], f, now)
		if fail != nil {
			return nil, fail
		}
		object[name] = v
	}
	return object, nil
}

func (w *walker) eval(e *workflow.Expression, f frame) (any, *Failure) {
	values := w.values([]*workflow.Expression{e}, f, w.now)
	if len(w.missing) > 0 {
		return nil, nil
	}
	v, err := e.Eval(values)
	return v, failureOf(err)
}

func (w *walker) holds(e *workflow.Expression, f frame) (bool, *Failure) {
	values := w.values([]*workflow.Expression{e}, f, w.now)
	if len(w.missing) > 0 {
		return false, nil
	}
	yes, err := e.Holds(values)
	return yes, failureOf(err)
}

// matches evaluates the match of a wait. A candidate that it cannot be evaluated
// on does not match.
func (w *walker) matches(e *workflow.Expression, f frame, candidate any, now time.Time) bool {
	values := w.values([]*workflow.Expression{e}, f, now)
	if len(w.missing) > 0 {
		return false
	}
	values["candidate"] = withRaw(candidate)
	yes, err := e.Holds(values)
	return err == nil && yes
}

// withRaw has the data of an event a second time, for expressions that read what
// its schema does not list.
func withRaw(event any) any {
	object, ok := event.(map[string]any)
	if !ok {
		return event
	}
	object = maps.Clone(object)
	object["raw"] = object["data"]
	return object
}

func failureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	message := err.Error()
	if wrong := (*workflow.EvalError)(nil); errors.As(err, &wrong) {
		message = wrong.Error()
	}
	return &Failure{Code: CodeExpression, Message: message}
}

// values are the variables that expressions read.
func (w *walker) values(expressions []*workflow.Expression, f frame, now time.Time) workflow.Values {
	s := w.state
	values := workflow.Values{"now": now}
	reads := func(name string) bool {
		return slices.ContainsFunc(expressions, func(e *workflow.Expression) bool { return e.Reads(name) })
	}
	if reads("run") {
		values["run"] = map[string]any{
			"id": s.Run, "workflow": s.Workflow, "user": s.User, "version": s.Version,
			"started_at": s.Started.UTC().Format(time.RFC3339Nano),
		}
	}
	if reads("event") {
		v, _ := w.load(s.Event)
		values["event"] = withRaw(v)
	}
	if reads("input") {
		values["input"], _ = w.load(s.Input)
	}
	if reads("vars") {
		values["vars"] = w.vars(f)
	}
	if reads("steps") {
		values["steps"] = w.steps(expressions, f)
	}
	if f.failure != nil {
		values["error"] = failureValue(f.failure)
	}
	w.bindings(values, reads, f)
	return values
}

func failureValue(f *Failure) any {
	if f == nil {
		return nil
	}
	return map[string]any{"step": f.Step, "code": f.Code, "message": f.Message}
}

func (w *walker) bindings(values workflow.Values, reads func(string) bool, f frame) {
	for _, b := range f.items {
		values["index"] = b.index
		if !reads(b.name) {
			continue
		}
		if items := w.itemsOf(b.entry); b.index < len(items) {
			values[b.name] = items[b.index]
		}
	}
}

// itemsOf decodes the items of a foreach, once in a transition.
func (w *walker) itemsOf(e *Entry) []any {
	if items, ok := w.lists[e]; ok {
		return items
	}
	v, ok := w.load(e.Loop.Items)
	items, _ := v.([]any)
	if ok {
		if w.lists == nil {
			w.lists = map[*Entry][]any{}
		}
		w.lists[e] = items
	}
	return items
}

// vars are the variables as a branch or iteration sees them.
func (w *walker) vars(f frame) map[string]any {
	all := map[string]Value{}
	maps.Copy(all, w.state.Vars)
	for _, scope := range f.scopes {
		maps.Copy(all, w.state.Locals[scope])
	}
	values := make(map[string]any, len(all))
	for name, v := range all {
		values[name], _ = w.load(v)
	}
	return values
}

// steps are the steps that expressions read, by id.
func (w *walker) steps(expressions []*workflow.Expression, f frame) map[string]any {
	wanted := map[string]bool{}
	for _, e := range expressions {
		ids, all := e.Steps()
		if all {
			ids = w.program.IDs()
		}
		for _, id := range ids {
			wanted[id] = true
		}
	}
	values := make(map[string]any, len(wanted))
	for id := range wanted {
		values[id] = w.stepValue(w.find(id, f))
	}
	return values
}

// find is the entry of a step as it is seen from a frame: in the same iteration,
// or in one around it.
func (w *walker) find(id string, f frame) *Entry {
	if e := w.state.Steps[f.prefix+id]; e != nil {
		return e
	}
	for i := len(f.scopes) - 1; i >= 0; i-- {
		if e := w.state.Steps[f.scopes[i]+"."+id]; e != nil {
			return e
		}
	}
	return w.state.Steps[id]
}

func (w *walker) stepValue(e *Entry) any {
	if e == nil {
		return map[string]any{"status": string(Skipped), "result": nil, "error": nil}
	}
	var result any
	if e.Loop != nil && e.Status == Completed {
		result, _ = w.results(e.Loop)
	} else if e.Result != nil {
		result, _ = w.load(*e.Result)
	}
	return map[string]any{"status": string(e.Status), "result": withEvent(result), "error": failureValue(e.Error)}
}

// withEvent completes a result that is an event.
func withEvent(result any) any {
	if object, ok := result.(map[string]any); ok && object["data"] != nil && object["source"] != nil {
		return withRaw(object)
	}
	return result
}
