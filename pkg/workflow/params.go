package workflow

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// params checks parameters as far as they are known before a run.
func (c *compiler) params(action *providers.Action, params map[string]*Template, path string) {
	s := newSchema(action.Params.JSON())
	before := len(c.problems)
	object := &Template{object: params}
	c.conform(object, s, path)
	if len(c.problems) > before || slices.ContainsFunc(slices.Collect(maps.Values(params)), func(t *Template) bool { return t == nil || !t.Constant() }) {
		return
	}
	values := map[string]any{}
	for name, t := range params {
		values[name] = t.value
	}
	data, err := encode(values)
	if err == nil {
		err = action.Validate(data)
	}
	if wrong := (*events.Error)(nil); errors.As(err, &wrong) {
		c.report(path, "%s", wrong.Message)
	} else if err != nil {
		c.report(path, "%v", err)
	}
}

// conform compares a template with a schema: names, types and what is missing.
func (c *compiler) conform(t *Template, s schema, path string) {
	if t == nil {
		return
	}
	object, list := t.object, t.list
	if t.Constant() {
		object, list = constants(t.value)
	}
	switch {
	case t.whole != nil && t.whole.program == nil:
	case t.whole != nil:
		c.typed(s, resultName(t.whole.program.Result().Kind), path, "its expression gives")
	case t.parts != nil:
		c.typed(s, "string", path, "it is")
	case object != nil:
		if c.typed(s, "object", path, "it is") {
			c.members(object, s, path)
		}
	case list != nil:
		if c.typed(s, "array", path, "it is") {
			for i, item := range list {
				c.conform(item, s.below(s.at["items"]), fmt.Sprintf("%s[%d]", path, i))
			}
		}
	default:
		if c.typed(s, typeName(t.value), path, "it is") {
			c.oneOf(t.value, s, path)
		}
	}
}

// constants takes a value apart into templates.
func constants(v any) (object map[string]*Template, list []*Template) {
	switch v := v.(type) {
	case map[string]any:
		object = map[string]*Template{}
		for name, member := range v {
			object[name] = &Template{value: member}
		}
	case []any:
		list = make([]*Template, len(v))
		for i, item := range v {
			list[i] = &Template{value: item}
		}
	}
	return object, list
}

func (c *compiler) typed(s schema, name, path, what string) bool {
	names := s.names()
	if allows(names, name) {
		return true
	}
	fix := ""
	if name != "object" && name != "array" && slices.Contains(names, "string") {
		fix = ": ${{ string(…) }} makes a text of a value"
	}
	c.report(path, "must be of type %s, %s of type %s%s", strings.Join(names, " or "), what, name, fix)
	return false
}

func (c *compiler) members(object map[string]*Template, s schema, path string) {
	for _, name := range sortedKeys(object) {
		p, ok := s.property(name)
		if !ok {
			c.report(join(path, name), "is unknown%s", nearest.Hint(name, maps.Keys(s.properties())))
			continue
		}
		c.conform(object[name], p, join(path, name))
	}
	for _, name := range s.required() {
		if _, ok := object[name]; !ok {
			c.report(path, "%s is missing", name)
		}
	}
}

// oneOf checks a constant against the values that are listed, and a text against
// its length and pattern.
func (c *compiler) oneOf(v any, s schema, path string) {
	if list, ok := s.at["enum"].([]any); ok && !slices.ContainsFunc(list, func(o any) bool { return fmt.Sprint(o) == fmt.Sprint(v) }) {
		words := make([]string, len(list))
		for i, o := range list {
			words[i] = fmt.Sprint(o)
		}
		c.report(path, "must be one of %s%s", clip(strings.Join(words, ", "), 300), nearest.Hint(fmt.Sprint(v), slices.Values(words)))
	}
	text, ok := v.(string)
	if !ok {
		return
	}
	if pattern, ok := s.at["pattern"].(string); ok {
		if re, err := regexp.Compile(pattern); err == nil && !re.MatchString(text) {
			c.report(path, "must match %s", pattern)
		}
	}
	if least, ok := s.at["minLength"].(float64); ok && float64(len([]rune(text))) < least {
		c.report(path, "must have at least %v characters", least)
	}
	if most, ok := s.at["maxLength"].(float64); ok && float64(len([]rune(text))) > most {
		c.report(path, "must have at most %v characters", most)
	}
}
