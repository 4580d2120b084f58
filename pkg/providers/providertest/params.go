package providertest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// missing leaves out each required parameter.
func missing(t T, a *providers.Action, params json.RawMessage) {
	t.Helper()
	for _, name := range schemaOf(t, a).Required {
		object := decode(t, params)
		delete(object, name)
		refused(t, a.Validate(encode(t, object)), "without "+name, "/"+name)
	}
}

// unknown adds a parameter that the action does not have.
func unknown(t T, a *providers.Action, params json.RawMessage) {
	t.Helper()
	object := decode(t, params)
	object["no_such_parameter"] = json.RawMessage(`1`)
	refused(t, a.Validate(encode(t, object)), "with an unknown parameter", "/no_such_parameter")
}

// hostile puts texts into the path that would lead elsewhere.
func hostile(t T, pack *providers.Pack, a *providers.Action, params json.RawMessage) {
	t.Helper()
	values := []string{"", ".", "..", "a/b", `a\b`, "%2e", "%2F", "a?b", "a#b", "\x00", "a\nb", "../..", "a/../b"}
	for name, kinds := range schemaOf(t, a).texts() {
		if !slices.Contains(kinds, "string") || !strings.Contains(a.Request.Path.String(), "{{params."+name+"}}") {
			continue
		}
		for _, value := range values {
			object := decode(t, params)
			object[name] = encode(t, value)
			changed := encode(t, object)
			err := a.Validate(changed)
			c := providers.Credential{Token: providers.NewSecret([]byte(canary))}
			if _, requestErr := a.NewRequest(t.Context(), pack.HTTP.BaseURL, changed, c); requestErr == nil {
				t.Errorf("NewRequest takes %s = %q", name, value)
			} else if err == nil {
				err = requestErr
			}
			refused(t, err, name+" = "+value, "/"+name)
		}
	}
}

// refused asserts that err is about the parameter named by pointer.
func refused(t T, err error, what, pointer string) {
	t.Helper()
	var e *events.Error
	if !errors.As(err, &e) || e.Code != events.CodeInvalidParams || !strings.Contains(e.Message, pointer+":") {
		t.Errorf("%q gives %v, want %s that names %s", what, err, events.CodeInvalidParams, pointer)
	}
}

// schema is what the suite reads of an action's parameters.
type schema struct {
	Required   []string `json:"required"`
	Properties map[string]struct {
		Type json.RawMessage `json:"type"`
	} `json:"properties"`
}

func schemaOf(t T, a *providers.Action) schema {
	t.Helper()
	var s schema
	if err := json.Unmarshal(a.Params.JSON(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// texts lists the kinds that each parameter may have.
func (s schema) texts() map[string][]string {
	kinds := map[string][]string{}
	for name, p := range s.Properties {
		var one string
		var several []string
		if json.Unmarshal(p.Type, &one) == nil {
			several = []string{one}
		} else if json.Unmarshal(p.Type, &several) != nil {
			continue
		}
		kinds[name] = several
	}
	return kinds
}

func decode(t T, raw json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func encode(t T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
