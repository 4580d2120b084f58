package providers

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"go.yaml.in/yaml/v3"
)

// JSON Schema ignores keywords that it does not know, so that a misspelt
// "maxLenght" allows everything. Packs are read more strictly.

// keywordForm is what a keyword of a schema holds.
type keywordForm int

const (
	formValue   keywordForm = iota + 1 // no schema
	formSchema                         // a schema
	formList                           // a list of schemas
	formNamed                          // a mapping of names to schemas
	formFormat                         // name of a format
	formLocal                          // reference inside this schema
	formDialect                        // URL of the draft
)

// keywords are those of draft 2020-12 that make sense in a pack.
func keywords() map[string]keywordForm {
	forms := map[string]keywordForm{"format": formFormat, "$ref": formLocal, "$schema": formDialect}
	for form, names := range map[keywordForm]string{
		formValue: "$comment title description default examples deprecated readOnly writeOnly type enum const " +
			"maxProperties minProperties required dependentRequired maxItems minItems uniqueItems minContains maxContains " +
			"maxLength minLength pattern maximum minimum exclusiveMaximum exclusiveMinimum multipleOf",
		formSchema: "not if then else propertyNames additionalProperties unevaluatedProperties items contains unevaluatedItems",
		formList:   "allOf anyOf oneOf prefixItems",
		formNamed:  "$defs properties patternProperties dependentSchemas",
	} {
		for name := range strings.FieldsSeq(names) {
			forms[name] = form
		}
	}
	return forms
}

// formats are those that are asserted. Others would be ignored.
func formats() []string {
	return []string{
		"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6",
		"json-pointer", "regex", "time", "uri", "uri-reference", "uuid",
	}
}

const dialect = "https://json-schema.org/draft/2020-12/schema"

// checkKeywords returns what is wrong with the keywords of the schema in node.
func checkKeywords(node *yaml.Node, at string, depth int) []error {
	if depth > maxDepth {
		return []error{atLine(node, "is nested deeper than %d levels", maxDepth)}
	}
	if node.Kind != yaml.MappingNode {
		if node.ShortTag() == "!!bool" && depth > 0 {
			return nil
		}
		return []error{atLine(node, "%smust be a schema, is %s", at, kindName(node))}
	}
	known := keywords()
	var problems []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		here := at + key.Value + ": "
		switch known[key.Value] {
		case formValue:
		case formSchema:
			problems = append(problems, checkKeywords(value, here, depth+1)...)
		case formList, formNamed:
			problems = append(problems, checkInner(value, here, depth)...)
		case formFormat, formLocal, formDialect:
			if err := checkKeywordText(key.Value, value.Value); err != nil {
				problems = append(problems, atLine(value, "%s%w", here, err))
			}
		default:
			problems = append(problems, atLine(key, "%sunknown keyword %s%s",
				at, strconv.Quote(clip(key.Value, 60)), nearest.Hint(key.Value, maps.Keys(known))))
		}
	}
	return problems
}

// checkInner checks the schemas in a list or in a mapping of names.
func checkInner(node *yaml.Node, at string, depth int) []error {
	var problems []error
	for i, item := range node.Content {
		name := strconv.Itoa(i)
		if node.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			name = clip(node.Content[i-1].Value, 60)
		}
		problems = append(problems, checkKeywords(item, at+name+": ", depth+1)...)
	}
	return problems
}

func checkKeywordText(keyword, text string) error {
	switch {
	case keyword == "format" && !slices.Contains(formats(), text):
		return errors.New("is unknown" + nearest.Hint(text, slices.Values(formats())))
	case keyword == "$ref" && !strings.HasPrefix(text, "#"):
		return errors.New("must begin with #: a schema refers to nothing outside itself")
	case keyword == "$schema" && text != dialect:
		return errors.New("must be " + dialect)
	}
	return nil
}
