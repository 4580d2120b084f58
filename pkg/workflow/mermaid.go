package workflow

import (
	"fmt"
	"strings"
)

// Mermaid draws a definition as a flowchart (https://mermaid.js.org): the trigger
// above, each step below the one that it follows, failures dotted.
func (d *Definition) Mermaid() string {
	m := &chart{}
	m.line("flowchart TD")
	m.line("  trigger([%s])", label(d.Trigger.String()))
	last := m.steps(d.Steps, []edge{{from: "trigger"}})
	m.line("  done([end])")
	m.edges(last, "done")
	if len(d.OnError) > 0 {
		m.line("  failed([failed])")
		m.steps(d.OnError, []edge{{from: "failed"}})
	}
	return m.String()
}

// String says in a few words what starts a run.
func (t Trigger) String() string {
	switch {
	case t.Event != nil:
		return t.Event.Provider + " " + strings.Join(t.Event.Event, ", ")
	case t.Schedule != nil && t.Schedule.Cron != "":
		return strings.TrimSpace(t.Schedule.Cron + " " + t.Schedule.Zone)
	case t.Schedule != nil:
		return "every " + t.Schedule.Every.String()
	case t.Run != nil:
		return "run of " + t.Run.Workflow + " " + strings.Join(t.Run.State, ", ")
	default:
		return "manual"
	}
}

// edge is an arrow whose end is not drawn yet.
type edge struct{ from, text string }

type chart struct{ strings.Builder }

func (m *chart) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

func (m *chart) edges(from []edge, to string) {
	for _, e := range from {
		if e.text != "" {
			m.line("  %s -->|%s| %s", e.from, label(e.text), to)
		} else {
			m.line("  %s --> %s", e.from, to)
		}
	}
}

// steps draws a list and returns what leads on from its end.
func (m *chart) steps(steps []*Step, from []edge) []edge {
	for _, s := range steps {
		id := node(s.ID)
		m.shape(s, id)
		m.edges(from, id)
		from = m.inner(s, id)
		m.failure(s, id)
	}
	return from
}

func (m *chart) shape(s *Step, id string) {
	text := label(s.String())
	switch s.Kind() {
	case KindFilter, KindBranch:
		m.line("  %s{%s}", id, text)
	case KindDelay, KindWaitFor:
		m.line("  %s([%s])", id, text)
	case KindCall:
		m.line("  %s[[%s]]", id, text)
	default:
		m.line("  %s[%s]", id, text)
	}
}

// inner draws the lists inside a step, and returns what leads on from it.
func (m *chart) inner(s *Step, id string) []edge {
	var out []edge
	for _, list := range s.Lists() {
		if list.Path == "on_error" {
			continue
		}
		end := m.steps(list.Steps, []edge{{id, list.Label}})
		if s.Foreach != nil {
			m.edges(end, id)
			continue
		}
		out = append(out, end...)
	}
	if len(out) == 0 {
		return []edge{{from: id}}
	}
	return out
}

func (m *chart) failure(s *Step, id string) {
	switch o := s.OnError; {
	case o == nil || o.Then == "fail" || o.Then == "continue":
	case o.Steps != nil:
		m.line("  %s_failed([%s])", id, label("on error"))
		m.line("  %s -.-> %s_failed", id, id)
		m.steps(o.Steps, []edge{{from: id + "_failed"}})
	default:
		m.line("  %s -.->|%s| %s", id, label("on error"), node(o.Then))
	}
}

// String says in a few words what the step does.
func (s *Step) String() string {
	text := s.ID
	if s.Name != "" {
		text = s.Name
	}
	switch s.Kind() {
	case KindAction:
		text += ": " + s.Action.Use
	case KindFilter:
		text += ": " + s.Filter
	case KindParallel:
		text += ": at the same time"
	case KindForeach:
		text += ": for each of " + s.Foreach.In
	case KindDelay:
		text += ": wait until " + s.Delay.Until
		if s.Delay.For > 0 {
			text = strings.TrimSuffix(text, "until ") + s.Delay.For.String()
		}
	case KindWaitFor:
		text += ": wait for " + s.WaitFor.Provider + " " + strings.Join(s.WaitFor.Event, ", ")
	case KindSet:
		text += ": set " + strings.Join(sortedKeys(s.Set), ", ")
	case KindCall:
		text += ": run " + s.Call.Workflow
	case KindRespond:
		text += ": respond"
	}
	return text
}

// node is an id as Mermaid takes one: none of its own words.
func node(id string) string { return "s_" + strings.ReplaceAll(id, "-", "_1") }

// label is a text in quotes, without what Mermaid would read in it.
func label(text string) string {
	text = strings.NewReplacer("&", "#amp;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;", "#", "#35;").Replace(clip(text, 100))
	return `"` + text + `"`
}
