package workflow

import (
	"fmt"
	"slices"
	"strings"
)

// cycles refuses workflows that start each other in a circle.
func (c *compiler) cycles() {
	name := c.definition.Name
	for path, other := range starts(c.definition) {
		if chain := c.leads(other, name, nil); chain != nil {
			c.report(path, "is a cycle: %s", strings.Join(append([]string{name}, chain...), " starts "))
		}
	}
	if t := c.definition.Trigger.Run; t != nil && t.Workflow == name {
		c.report("trigger.run.workflow", "is a cycle: each run would start the next one")
	}
}

// leads finds the way from a workflow to the one that is looked for.
func (c *compiler) leads(from, to string, seen []string) []string {
	switch {
	case from == to:
		return []string{to}
	case c.options.Workflow == nil || slices.Contains(seen, from) || len(seen) > MaxNesting:
		return nil
	}
	d, ok := c.options.Workflow(from)
	if !ok {
		return nil
	}
	others := starts(d)
	for _, path := range sortedKeys(others) {
		if chain := c.leads(others[path], to, append(seen, from)); chain != nil {
			return append([]string{from}, chain...)
		}
	}
	return nil
}

// starts are the workflows that a definition calls, by the path of the call.
func starts(d *Definition) map[string]string {
	all := map[string]string{}
	var walk func(steps []*Step, path string)
	walk = func(steps []*Step, path string) {
		for i, s := range steps {
			at := fmt.Sprintf("%s[%d]", path, i)
			if s.Call != nil {
				all[at+".call_workflow.workflow"] = s.Call.Workflow
			}
			for _, list := range s.Lists() {
				walk(list.Steps, at+"."+list.Path)
			}
		}
	}
	walk(d.Steps, "steps")
	walk(d.OnError, "on_error")
	return all
}
