package machine_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// author writes random workflows.
type author struct {
	t     *rapid.T
	count int
	loops int // foreach around the place
}

const mostSteps = 16

func (a *author) list(depth int, apart, safe bool) []*node {
	size := rapid.IntRange(1, 4).Draw(a.t, "steps")
	var nodes []*node
	for i := 0; i < size && (a.count < mostSteps || i == 0); i++ {
		nodes = append(nodes, a.node(depth, apart, safe))
	}
	for i, n := range nodes {
		if n.onError == "jump" {
			n.jump = rapid.IntRange(i+1, len(nodes)).Draw(a.t, "jump")
			if n.jump == len(nodes) {
				n.onError = "continue"
			}
		}
	}
	return nodes
}

// node writes a step. Of steps that are apart others go on at the same time;
// safe ones must not end in a failure that nothing deals with.
func (a *author) node(depth int, apart, safe bool) *node {
	kinds := []string{"action", "set", "filter", "wait_for", "call", "delay"}
	if !apart {
		kinds = append(kinds, "respond")
	}
	if depth > 0 && a.count < mostSteps {
		kinds = append(kinds, "branch", "parallel", "action")
		if a.loops < workflow.MaxForeachNesting {
			kinds = append(kinds, "foreach")
		}
	}
	a.count++
	n := &node{id: fmt.Sprintf("s%d", a.count), kind: rapid.SampledFrom(kinds).Draw(a.t, "kind"), variable: a.variable()}
	n.add = rapid.IntRange(1, 3).Draw(a.t, "add")
	if rapid.IntRange(0, 4).Draw(a.t, "if") == 0 {
		n.skip = a.test()
	}
	switch n.kind {
	case "action", "call", "wait_for":
		n.answer = answer{rapid.IntRange(0, 3).Draw(a.t, "fails") == 0, rapid.IntRange(0, 99).Draw(a.t, "value")}
		a.failure(n, depth, apart, safe)
	case "filter":
		n.test = a.test()
	case "branch":
		n.test = a.test()
		n.lists = [][]*node{a.list(depth-1, apart, safe), a.list(depth-1, apart, safe)}
	case "parallel":
		for range rapid.IntRange(2, 3).Draw(a.t, "branches") {
			n.lists = append(n.lists, a.list(depth-1, true, safe))
		}
		a.failure(n, depth, apart, safe)
	case "foreach":
		n.add, n.limit = rapid.IntRange(0, 4).Draw(a.t, "items"), rapid.IntRange(1, 3).Draw(a.t, "limit")
		// Which items have begun when one fails is chance, but one at a time.
		a.loops++
		n.lists = [][]*node{a.list(depth-1, true, safe || n.limit > 1)}
		a.loops--
		a.failure(n, depth, apart, safe)
	}
	return n
}

func (a *author) failure(n *node, depth int, apart, safe bool) {
	n.onError = rapid.SampledFrom([]string{"", "continue", "jump", "steps"}).Draw(a.t, "on_error")
	switch {
	case safe && n.onError == "":
		n.onError = "continue"
	case n.onError == "steps" && (depth == 0 || a.count >= mostSteps):
		n.onError = "continue"
	case n.onError == "steps":
		n.handlers = a.list(0, apart, safe)
	}
}

func (a *author) variable() string {
	return rapid.SampledFrom([]string{"x", "y"}).Draw(a.t, "variable")
}

func (a *author) test() *test {
	return &test{a.variable(), rapid.IntRange(-1, 4).Draw(a.t, "than")}
}

// text is an expression.
func (t *test) text() string { return fmt.Sprintf("vars.%s > %d", t.variable, t.than) }

// definition writes the steps as a definition.
func definition(steps, handlers []*node) string {
	d := map[string]any{
		"name": "random", "trigger": map[string]any{"manual": map[string]any{}}, "vars": map[string]any{"x": 0, "y": 1},
		"steps": written(steps),
	}
	if handlers != nil {
		d["on_error"] = written(handlers)
	}
	data, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func written(nodes []*node) []any {
	list := []any{}
	for _, n := range nodes {
		step := n.written()
		step["id"] = n.id
		if n.skip != nil {
			step["if"] = n.skip.text()
		}
		switch n.onError {
		case "continue":
			step["on_error"] = n.onError
		case "jump":
			step["on_error"] = nodes[n.jump].id
		case "steps":
			step["on_error"] = written(n.handlers)
		}
		list = append(list, step)
	}
	return list
}

func (n *node) written() map[string]any {
	value := "${{ vars." + n.variable + " }}"
	switch n.kind {
	case "action":
		params := map[string]any{"channel": "c", "text": "${{ string(vars." + n.variable + ") }}"}
		return map[string]any{"action": map[string]any{"use": "slack.chat.postMessage", "params": params}}
	case "call":
		return map[string]any{"call_workflow": map[string]any{"workflow": "other", "input": map[string]any{"text": value}}}
	case "wait_for":
		// Of the events that come one matches; what fails is one whose time runs out.
		match := fmt.Sprintf("candidate.data.fits && candidate.data.text != vars.%s", n.variable)
		return map[string]any{"wait_for": map[string]any{"provider": "slack", "event": "reaction_added", "match": match, "timeout": "1h"}}
	case "set":
		return map[string]any{"set": map[string]any{n.variable: fmt.Sprintf("${{ vars.%s + %d }}", n.variable, n.add)}}
	case "respond":
		return map[string]any{"respond": map[string]any{"data": value}}
	case "filter":
		return map[string]any{"filter": n.test.text()}
	case "delay":
		return map[string]any{"delay": map[string]any{"for": fmt.Sprintf("%dh", n.add)}}
	case "branch":
		one := map[string]any{"when": n.test.text(), "steps": written(n.lists[0])}
		return map[string]any{"branch": map[string]any{"cases": []any{one}, "else": written(n.lists[1])}}
	case "parallel":
		branches := map[string]any{}
		for i, list := range n.lists {
			branches[string(rune('a'+i))] = written(list)
		}
		return map[string]any{"parallel": map[string]any{"branches": branches}}
	default:
		items := "[" + strings.TrimSuffix(strings.Repeat("1, ", n.add), ", ") + "]"
		return map[string]any{"foreach": map[string]any{"in": items, "limit": n.limit, "steps": written(n.lists[0])}}
	}
}
