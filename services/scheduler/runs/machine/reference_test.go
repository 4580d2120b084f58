package machine_test

import (
	"encoding/json"
	"fmt"
	"maps"
)

// node is a step of a random workflow, as the reference reads it.
type node struct {
	id, kind string
	skip     *test // if
	test     *test // of filter, and the only case of branch
	variable string
	add      int // set: variable = variable + add; of foreach the number of items
	limit    int
	answer   answer
	lists    [][]*node // branch: case and else; parallel: a, b, …; foreach: one
	onError  string    // "", continue, jump, steps
	jump     int       // index of a later step
	handlers []*node
}

// test is the condition variable > than.
type test struct {
	variable string
	than     int
}

// answer is how the world answers a step: with a number, or with a failure.
type answer struct {
	fails bool
	value int
}

// ending is how a list of steps ends.
type ending struct {
	is   string // "", failed, stopped
	step string // that has failed
}

// variables hide those around them.
type variables struct {
	own   map[string]int
	outer *variables
}

func (v *variables) get(name string) int {
	if n, ok := v.own[name]; ok || v.outer == nil {
		return n
	}
	return v.outer.get(name)
}

// reference runs a workflow one step after the other.
type reference struct {
	asked  map[string]string // :: step → what it asked for
	status map[string]string // :: step at the top → how it has ended
	result map[string]any    // :: step → result, of all iterations
	output any
}

func (t *test) holds(v *variables) bool { return t == nil || v.get(t.variable) > t.than }

func (r *reference) list(nodes []*node, prefix string, v *variables) ending {
	for i := 0; i < len(nodes); i++ {
		n := nodes[i]
		end := r.step(n, prefix, v)
		if end.is == "failed" {
			switch n.onError {
			case "continue":
				continue
			case "jump":
				for _, over := range nodes[i+1 : n.jump] {
					r.status[prefix+over.id] = "skipped"
				}
				i = n.jump - 1
				continue
			case "steps":
				end = r.list(n.handlers, prefix, v)
			}
		}
		if end.is != "" {
			return end
		}
	}
	return ending{}
}

func (r *reference) step(n *node, prefix string, v *variables) ending {
	key := prefix + n.id
	if !n.skip.holds(v) {
		r.status[key] = "skipped"
		return ending{}
	}
	end := r.kind(n, prefix, v)
	r.status[key] = "completed"
	if end.is == "failed" {
		r.status[key] = "failed"
		delete(r.result, key)
	}
	return end
}

func (r *reference) kind(n *node, prefix string, v *variables) ending {
	key := prefix + n.id
	switch n.kind {
	case "action", "call", "wait_for":
		r.asked[key] = fmt.Sprint(v.get(n.variable))
		if n.answer.fails {
			return ending{"failed", n.id}
		}
		r.result[key] = n.answer.value
	case "set":
		v.own[n.variable] = v.get(n.variable) + n.add
		r.result[key] = map[string]any{n.variable: v.get(n.variable)}
	case "respond":
		r.output = v.get(n.variable)
	case "filter":
		if !n.test.holds(v) {
			return ending{is: "stopped"}
		}
	case "branch":
		if n.test.holds(v) {
			return r.list(n.lists[0], prefix, v)
		}
		return r.list(n.lists[1], prefix, v)
	case "parallel":
		return r.parallel(n, prefix, v)
	case "foreach":
		return r.foreach(n, prefix, v)
	}
	return ending{}
}

func (r *reference) parallel(n *node, prefix string, v *variables) ending {
	var first ending
	completed := []string{}
	for i, list := range n.lists {
		end := r.list(list, prefix, &variables{own: map[string]int{}, outer: v})
		if end.is == "failed" && first.is == "" {
			first = end
		}
		if end.is != "failed" {
			completed = append(completed, string(rune('a'+i)))
		}
	}
	r.result[prefix+n.id] = completed
	return first
}

func (r *reference) foreach(n *node, prefix string, v *variables) ending {
	results := []any{}
	for i := range n.add {
		at := fmt.Sprintf("%s%s[%d].", prefix, n.id, i)
		end := r.list(n.lists[0], at, &variables{own: map[string]int{}, outer: v})
		if end.is == "failed" {
			return end
		}
		last := at + n.lists[0][len(n.lists[0])-1].id
		results = append(results, r.result[last])
		maps.DeleteFunc(r.status, func(key string, _ string) bool { return len(key) > len(at) && key[:len(at)] == at })
	}
	r.result[prefix+n.id] = results
	return ending{}
}

// canonical is a value as JSON, to compare by.
func canonical(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// all lists nodes with those inside them.
func all(nodes []*node) []*node {
	var found []*node
	for _, n := range nodes {
		found = append(found, n)
		for _, list := range n.lists {
			found = append(found, all(list)...)
		}
		found = append(found, all(n.handlers)...)
	}
	return found
}
