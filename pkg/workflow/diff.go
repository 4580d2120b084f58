package workflow

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Change is one difference between two definitions.
type Change struct {
	Path string          `json:"path"` // a step by its id: steps.post.action.use
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"` // From or To is absent where the other was added or removed
}

// String returns "+ path: to", "- path: from" or "~ path: from → to".
func (c Change) String() string {
	const most = 120
	from, to := clip(string(c.From), most), clip(string(c.To), most)
	switch {
	case c.From == nil:
		return fmt.Sprintf("+ %s: %s", c.Path, to)
	case c.To == nil:
		return fmt.Sprintf("- %s: %s", c.Path, from)
	default:
		return fmt.Sprintf("~ %s: %s → %s", c.Path, from, to)
	}
}

// Diff returns what changes from one definition to another, in the order of the
// paths. Steps are told by their ids, so that one that has moved is no change but
// of the order of its list.
func Diff(from, to *Definition) []Change {
	var all []Change
	diff("", tree(from), tree(to), &all)
	return all
}

func tree(d *Definition) any {
	var v any
	if data, err := d.JSON(); err == nil {
		_ = json.Unmarshal(data, &v) // it is JSON
	}
	return byID(v)
}

// byID puts an object in place of each list of steps: the steps by id, and their
// order.
func byID(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = byID(member)
		}
	case []any:
		object, order := map[string]any{}, make([]any, 0, len(v))
		for i, item := range v {
			v[i] = byID(item)
			step, _ := v[i].(map[string]any)
			id, ok := step["id"].(string)
			if _, twice := object[id]; !ok || twice {
				return numbered(v, i)
			}
			object[id] = step
			order = append(order, id)
		}
		if len(order) > 0 {
			object["order"] = order
			return object
		}
	}
	return v
}

func numbered(list []any, done int) any {
	for i := done + 1; i < len(list); i++ {
		list[i] = byID(list[i])
	}
	return list
}

func diff(path string, from, to any, all *[]Change) {
	if reflect.DeepEqual(from, to) {
		return
	}
	old, ok := from.(map[string]any)
	changed, also := to.(map[string]any)
	if !ok || !also {
		*all = append(*all, Change{Path: path, From: rawOf(from), To: rawOf(to)})
		return
	}
	names := map[string]bool{}
	for name := range old {
		names[name] = true
	}
	for name := range changed {
		names[name] = true
	}
	for _, name := range sortedKeys(names) {
		if name == "order" && sameSet(old[name], changed[name]) {
			continue
		}
		diff(join(path, name), old[name], changed[name], all)
	}
}

// sameSet reports whether two orders differ only because steps were added or
// removed: those in both stand in the same order.
func sameSet(from, to any) bool {
	old, ok := from.([]any)
	changed, also := to.([]any)
	return ok && also && reflect.DeepEqual(common(old, changed), common(changed, old))
}

func common(of, with []any) []any {
	var all []any
	for _, v := range of {
		for _, o := range with {
			if v == o {
				all = append(all, v)
			}
		}
	}
	return all
}

func rawOf(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	data, err := encode(v)
	if err != nil {
		return nil
	}
	return data
}
