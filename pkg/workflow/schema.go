package workflow

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema returns the JSON Schema (draft 2020-12) of definitions, for editors. It
// says what [Parse] takes; what has a meaning, only [Compile] knows.
func Schema() json.RawMessage {
	s := schemaWriter{defs: map[string]any{}}
	root := s.object(reflect.TypeFor[Definition]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "PlugFn workflow"
	root["$defs"] = s.defs
	root["required"] = []string{"name", "trigger", "steps"}
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil // maps of texts always have a JSON
	}
	return append(data, '\n')
}

type schemaWriter struct{ defs map[string]any }

func (s schemaWriter) of(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{"description": "Any value; texts in it may hold ${{ expression }}."}
	case reflect.TypeFor[Duration]():
		return map[string]any{"type": "string", "pattern": durationForm.String(), "description": "A duration such as 90s, 2h30m, 30d or 2w."}
	case reflect.TypeFor[Names]():
		list := map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"type": "string"}}
		return map[string]any{"anyOf": []any{map[string]any{"type": "string"}, list}}
	case reflect.TypeFor[OnError]():
		steps := s.of(reflect.TypeFor[[]*Step]())
		return map[string]any{"anyOf": []any{map[string]any{"type": "string"}, steps}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		name := strings.ToLower(t.Name())
		if _, ok := s.defs[name]; !ok {
			s.defs[name] = nil // while it is written: steps have steps
			s.defs[name] = s.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + name}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer", "minimum": 1}
	default:
		return map[string]any{"type": "string", "minLength": 1}
	}
}

func (s schemaWriter) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		p := s.of(field.Type)
		if text := descriptions()[t.Name()+"."+name]; text != "" {
			p["description"] = text
		}
		properties[name] = p
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	object := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		object["required"] = required
	}
	if kinds := choices(t); kinds != nil {
		object["oneOf"] = kinds
	}
	return object
}

// choices are the members of which an object has exactly one.
func choices(t reflect.Type) []any {
	var names []string
	switch t {
	case reflect.TypeFor[Step]():
		for _, k := range Kinds() {
			names = append(names, string(k))
		}
	case reflect.TypeFor[Trigger]():
		names = []string{"event", "schedule", "manual", "run"}
	case reflect.TypeFor[Delay]():
		names = []string{"for", "until"}
	case reflect.TypeFor[Schedule]():
		names = []string{"cron", "every"}
	}
	var all []any
	for _, name := range names {
		all = append(all, map[string]any{"required": []string{name}})
	}
	return all
}

// descriptions are what editors show beside a key, by type and key.
func descriptions() map[string]string {
	return map[string]string{
		"Definition.name":        "a-z, 0-9 and -, unique for a user.",
		"Definition.input":       "JSON Schema of the input; with trigger.manual.",
		"Definition.vars":        "Variables and their values at the start; set changes them.",
		"Definition.concurrency": "How many runs are under way at the same time.",
		"Definition.timeout":     "How long a run may take: 30d where it is not written, at most 365d.",
		"Definition.on_error":    "Steps that follow the failure of the run; error is in scope.",
		"EventTrigger.event":     "issues.opened, or issues.* for all below.",
		"EventTrigger.filter":    "An expression over event.",
		"Schedule.cron":          "Five fields, or six with the seconds first.",
		"Schedule.zone":          "Time zone of cron, such as Europe/Berlin; UTC where it is not written.",
		"Concurrency.key":        "The limit is for each value of it, such as ${{ event.data.repository.full_name }}.",
		"Concurrency.order":      "Runs with the same key start in the order in which they were asked for.",
		"Step.id":                "a-z, then a-z, 0-9, _ and -; unique in the workflow.",
		"Step.if":                "An expression; false: the step is skipped.",
		"Step.action":            "Asks for an action of a provider.",
		"Step.filter":            "An expression; false ends the run as completed, an iteration of foreach or a branch of parallel.",
		"Step.branch":            "Goes on with the first case that holds.",
		"Step.parallel":          "Goes on with all branches at the same time.",
		"Step.foreach":           "Does its steps for each item of a list.",
		"Step.delay":             "Waits for a time.",
		"Step.wait_for":          "Waits for an event.",
		"Step.set":               "Sets variables.",
		"Step.call_workflow":     "Starts a run of another workflow.",
		"Step.respond":           "Sets the output of the run.",
		"Step.on_error":          "fail, continue, the id of a later step of the same list, or steps of its own.",
		"Action.use":             "Provider and action, such as github.issues.create.",
		"Action.pages":           "How many pages of a list are joined to the result.",
		"Parallel.join":          "all, or any: once one branch has completed, the others are canceled.",
		"Foreach.in":             "An expression: a list of at most 10,000 items.",
		"Foreach.as":             "Name of the item in expressions; item where it is not written.",
		"Foreach.limit":          "Items at the same time, 1 to 50; 5 where it is not written.",
		"Delay.until":            "An expression: a time.",
		"WaitFor.match":          "An expression in which the event is candidate.",
		"WaitFor.on_timeout":     "fail, or continue with the result null.",
		"Call.wait":              "Whether the step ends with the run that it starts; true where it is not written.",
	}
}
