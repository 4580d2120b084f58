package providers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxListed bounds the problems that one message names.
const maxListed = 5

// problemsOf says what breaks which rule, as "/pointer: rule" in the order of
// the pointers. Only names and rules are told, never a value: parameters may
// be secret, and messages are stored and logged. The names of known are
// suggested for unknown members of the outermost object.
func problemsOf(invalid *jsonschema.ValidationError, known map[string]any) []string {
	c := collector{known: known}
	c.collect(invalid)
	slices.Sort(c.found)
	found := slices.Compact(c.found)
	if n := len(found) - maxListed; n > 0 {
		found = append(found[:maxListed], fmt.Sprintf("and %d more", n))
	}
	return found
}

type collector struct {
	known map[string]any
	found []string
}

// collect goes to the causes that name a rule. It stays at anyOf and oneOf: the
// reasons why each of the alternatives fails contradict each other.
func (c *collector) collect(e *jsonschema.ValidationError) {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		if names := alternatives(e); names != nil {
			c.add(e, "", "needs one of "+strings.Join(names, ", "))
			return
		}
	case *kind.OneOf:
	case *kind.Required:
		for _, name := range k.Missing {
			c.add(e, name, "required, is missing")
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			c.add(e, name, "unknown"+c.suggest(e, name))
		}
		return
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				c.collect(cause)
			}
			return
		}
	}
	c.add(e, "", rule(e.ErrorKind))
}

// alternatives lists the members of which each branch of an anyOf misses one;
// nil where a branch fails for another reason.
func alternatives(e *jsonschema.ValidationError) []string {
	var names []string
	for _, cause := range e.Causes {
		for len(cause.Causes) == 1 {
			cause = cause.Causes[0]
		}
		k, ok := cause.ErrorKind.(*kind.Required)
		if !ok || len(k.Missing) != 1 {
			return nil
		}
		names = append(names, k.Missing[0])
	}
	return names
}

func (c *collector) suggest(e *jsonschema.ValidationError, name string) string {
	if len(e.InstanceLocation) > 0 {
		return ""
	}
	return nearest.Hint(name, maps.Keys(c.known))
}

func (c *collector) add(e *jsonschema.ValidationError, member, rule string) {
	c.found = append(c.found, problemAt(e, member, rule))
}

// problemAt joins the place of e, or of a member there, and the rule.
func problemAt(e *jsonschema.ValidationError, member, rule string) string {
	var b strings.Builder
	tokens := e.InstanceLocation
	if member != "" {
		tokens = append(slices.Clone(tokens), member)
	}
	for _, t := range tokens {
		b.WriteString("/" + clip(strings.NewReplacer("~", "~0", "/", "~1").Replace(t), 60))
	}
	return cmp.Or(b.String(), "/") + ": " + rule
}

// rule says what a value should have been.
func rule(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ") + ", is " + k.Got
	case *kind.Enum:
		return "must be one of " + list(k.Want)
	case *kind.Const:
		return "must be " + list([]any{k.Want})
	case *kind.Format:
		return "must be a valid " + k.Want
	case *kind.Pattern:
		return "must match " + k.Want
	case *kind.MinLength:
		return atLeast(k.Want, "character")
	case *kind.MaxLength:
		return atMost(k.Want, "character")
	case *kind.MinItems:
		return atLeast(k.Want, "item")
	case *kind.MaxItems:
		return atMost(k.Want, "item")
	case *kind.MinProperties:
		return atLeast(k.Want, "member")
	case *kind.MaxProperties:
		return atMost(k.Want, "member")
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	case *kind.UniqueItems:
		return "must not repeat an item"
	case *kind.DependentRequired:
		return "needs " + strings.Join(k.Missing, ", ") + " as well"
	case *kind.AnyOf:
		return "is in none of the allowed forms"
	case *kind.OneOf:
		return "must be in exactly one of the allowed forms"
	case *kind.RefCycle:
		return "cannot be checked: the schema refers to itself"
	case *kind.FalseSchema:
		return "is not allowed"
	default:
		return "breaks the rule " + strings.Join(k.KeywordPath(), " ")
	}
}

func atLeast(n int, unit string) string { return "must have at least " + count(n, unit) }

func atMost(n int, unit string) string { return "must have at most " + count(n, unit) }

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}

func decimal(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// list writes the values of a schema as JSON.
func list(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			raw = []byte("?")
		}
		texts[i] = string(raw)
	}
	return strings.Join(texts, ", ")
}
