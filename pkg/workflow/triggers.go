package workflow

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/types"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// trigger checks the trigger and adds what it brings to the scope.
func (c *compiler) trigger(fields types.Map) *Expression {
	t := c.definition.Trigger
	set := 0
	for _, is := range []bool{t.Event != nil, t.Schedule != nil, t.Manual != nil, t.Run != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		c.report("trigger", "must have exactly one of event, schedule, manual and run")
		fields["event"], fields["input"] = types.Any, types.Any
		return nil
	}
	switch {
	case t.Event != nil:
		fields["event"] = eventType(c.eventData(t.Event.Provider, t.Event.Event, "trigger.event"))
		if t.Event.Filter == "" {
			return nil
		}
		filtered := types.Map{"event": fields["event"], "now": fields["now"]}
		return c.expression(t.Event.Filter, "trigger.event.filter", scope{fields: filtered}, true)
	case t.Schedule != nil:
		fields["event"] = types.Map{"time": types.String}
		c.schedule(*t.Schedule)
	case t.Manual != nil:
		fields["input"] = types.Any
		if c.definition.Input != nil {
			fields["input"] = newSchema(c.definition.Input).kind(0)
		}
	case t.Run != nil:
		run := types.Map{"run": types.String, "workflow": types.String, "state": types.String, "output": types.Any, "error": errorType()}
		fields["event"] = types.Map{"data": run}
		c.runTrigger(*t.Run)
	}
	return nil
}

func (c *compiler) schedule(s Schedule) {
	field, problem := "", "cannot be checked: there is no scheduler"
	if c.options.Schedule != nil {
		field, problem = c.options.Schedule(s)
	}
	if problem == "" {
		return
	}
	path := "trigger.schedule"
	if field != "" {
		path += "." + field
	}
	c.report(path, "%s", problem)
}

func (c *compiler) runTrigger(t RunTrigger) {
	if !workflowName.MatchString(t.Workflow) {
		c.report("trigger.run.workflow", "must be the name of a workflow")
	}
	states := []string{"completed", "failed", "canceled"}
	for _, state := range t.State {
		if !slices.Contains(states, state) {
			c.report("trigger.run.state", "%s is no state that a run ends in%s; there are %s", clip(state, 40), nearest.Hint(state, slices.Values(states)), strings.Join(states, ", "))
		}
	}
	if len(t.State) == 0 {
		c.report("trigger.run.state", "is missing: one or more of %s", strings.Join(states, ", "))
	}
}

// eventData checks the events that something waits for, and returns the type of
// their data.
func (c *compiler) eventData(provider string, names Names, path string) types.Type {
	pack := c.pack(provider, path+".provider")
	if len(names) == 0 {
		c.report(path+".event", "is missing: the name of an event, such as issues.opened")
	}
	if len(names) > maxEvents {
		c.report(path+".event", "must have at most %d names", maxEvents)
	}
	for _, name := range names {
		if !eventName.MatchString(name) || len(name) > 200 {
			c.report(path+".event", "%s is no name of an event: parts with . between them, where the last may be *", clip(name, 60))
		}
	}
	switch {
	case pack == nil:
		return types.Any
	case pack.Webhooks == nil:
		c.report(path+".provider", "%s sends no events", provider)
		return types.Any
	case len(names) != 1 || pack.Triggers[names[0]] == nil || pack.Triggers[names[0]].Schema == nil:
		return types.Any
	}
	return newSchema(pack.Triggers[names[0]].Schema.JSON()).kind(0)
}

func (c *compiler) pack(name, path string) *providers.Pack {
	if name == "" {
		c.report(path, "is missing: the name of a provider")
		return nil
	}
	pack, ok := c.options.Providers.Pack(name)
	if !ok {
		c.report(path, "no provider is called %s%s", clip(name, 60), hint(c.options.Providers.Nearest(name)))
		return nil
	}
	return pack
}
