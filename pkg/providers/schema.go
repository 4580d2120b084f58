package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// Schema is a JSON Schema (draft 2020-12). It refers to nothing outside
// itself, formats are asserted, and a keyword that the draft does not know is
// an error when it is loaded.
type Schema struct {
	raw  json.RawMessage
	root map[string]any

	once     sync.Once
	compiled *jsonschema.Schema // nil before once, or when it is broken
	broken   error
}

const schemaURL = "plugfn:///schema"

// UnmarshalYAML reads and compiles the schema.
func (s *Schema) UnmarshalYAML(node *yaml.Node) error {
	if err := s.parse(node); err != nil {
		return err
	}
	if err := errors.Join(checkKeywords(node, "", 0)...); err != nil {
		return err
	}
	if s.compile(); s.broken != nil {
		return atLine(node, "%w", s.broken)
	}
	return nil
}

// parse reads a schema that is known to be right. It is compiled when it is
// first used.
func (s *Schema) parse(node *yaml.Node) error {
	v, err := jsonValue(node, 0)
	if err != nil {
		return err
	}
	s.root, _ = v.(map[string]any)
	if s.raw, err = encodeJSON(v); err != nil {
		return atLine(node, "%w", err)
	}
	return nil
}

// compile makes compiled or broken, once.
func (s *Schema) compile() {
	s.once.Do(func() { s.compiled, s.broken = compileSchema(s.root) })
}

func compileSchema(v any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // loads nothing, from nowhere
	if err := c.AddResource(schemaURL, v); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(schemaURL)
	if broken := (*jsonschema.SchemaValidationError)(nil); errors.As(err, &broken) {
		if invalid := (*jsonschema.ValidationError)(nil); errors.As(broken.Err, &invalid) {
			return nil, errors.New(strings.Join(problemsOf(invalid, nil), "; "))
		}
	}
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(firstLine(err.Error()), schemaURL, ""))
	}
	return compiled, nil
}

// JSON returns the schema itself. The caller must not change it.
func (s *Schema) JSON() json.RawMessage { return s.raw }

// Check returns nil, or an error with up to five problems of data, each with
// its JSON pointer and the rule. It never quotes a value.
func (s *Schema) Check(data json.RawMessage) error {
	v, err := parseJSON(data)
	if err != nil {
		return err
	}
	if problems := s.problems(v); len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

func (s *Schema) problems(v any) []string {
	if s.compile(); s.broken != nil {
		return []string{"/: cannot be checked"}
	}
	err := s.compiled.Validate(v)
	if err == nil {
		return nil
	}
	if invalid := (*jsonschema.ValidationError)(nil); errors.As(err, &invalid) {
		return problemsOf(invalid, s.properties())
	}
	return []string{"/: cannot be checked"}
}

// properties lists the names that the schema gives to parameters.
func (s *Schema) properties() map[string]any {
	properties, _ := s.root["properties"].(map[string]any)
	return properties
}

// requires reports whether the parameter must be there.
func (s *Schema) requires(name string) bool {
	required, _ := s.root["required"].([]any)
	return slices.Contains(required, any(name))
}

// checkParams reports what keeps s from describing the parameters of an action.
func (s *Schema) checkParams(path string, r report) {
	if s.root["type"] != "object" {
		r(path, "must have type: object")
	}
	if s.root["additionalProperties"] != false {
		r(path, "must have additionalProperties: false, so that a misspelt parameter is an error")
	}
	for _, name := range slices.Sorted(maps.Keys(s.properties())) {
		if !isName(name) {
			r(path+".properties."+name, "a parameter's name is a letter or _ and then letters, digits, _ and -")
		}
	}
	required, _ := s.root["required"].([]any)
	for _, name := range required {
		text := fmt.Sprint(name)
		if _, ok := s.properties()[text]; !ok {
			r(path+".required", "%s is no parameter%s", text, nearest.Hint(text, maps.Keys(s.properties())))
		}
	}
}

// hasPointer reports whether a JSON pointer leads to a declared parameter, as
// far as the schema says what is inside.
func (s *Schema) hasPointer(tokens []string) bool {
	at := s.root
	for _, token := range tokens {
		properties, ok := at["properties"].(map[string]any)
		if !ok {
			return at["type"] != "string" && at["type"] != "number" && at["type"] != "integer" && at["type"] != "boolean"
		}
		next, ok := properties[token].(map[string]any)
		if !ok {
			return false
		}
		at = next
	}
	return len(tokens) > 0
}

// ParseSchema reads a schema that is written as JSON, and compiles it.
func ParseSchema(data json.RawMessage) (*Schema, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil || len(document.Content) != 1 {
		return nil, errors.New("is not JSON")
	}
	s := &Schema{}
	err := s.UnmarshalYAML(document.Content[0])
	if line := (*lineError)(nil); errors.As(err, &line) {
		err = line.err
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}
