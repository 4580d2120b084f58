package workflow_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/plugfn/plugfn/pkg/workflow"
)

func TestNamesMatch(t *testing.T) {
	for _, c := range []struct {
		names workflow.Names
		name  string
		want  bool
	}{
		{workflow.Names{"issues.opened"}, "issues.opened", true},
		{workflow.Names{"issues.opened"}, "issues.opened.x", false},
		{workflow.Names{"issues.*"}, "issues.opened", true},
		{workflow.Names{"issues.*"}, "issues.a.b", true},
		{workflow.Names{"issues.*"}, "issues", false},
		{workflow.Names{"issues.*"}, "issuesx.opened", false},
		{workflow.Names{"push", "issues.*"}, "push", true},
		{workflow.Names{"*"}, "push", true},
		{workflow.Names{"*"}, "", false},
		{nil, "push", false},
	} {
		if got := c.names.Match(c.name); got != c.want {
			t.Errorf("%v of %q: %t", c.names, c.name, got)
		}
	}
}

// Whoever reads a definition as JSON gets the names that were written.
func TestNamesAreReadAsWritten(t *testing.T) {
	for text, names := range map[string]workflow.Names{`"push"`: {"push"}, `["push","issues.*"]`: {"push", "issues.*"}, `[]`: {}} {
		data, err := json.Marshal(names)
		var got workflow.Names
		if err == nil {
			err = json.Unmarshal(data, &got)
		}
		if err != nil || string(data) != text || !slices.Equal(got, names) {
			t.Errorf("%v becomes %s and %v, %v", names, data, got, err)
		}
	}
	var none workflow.Names
	if err := json.Unmarshal([]byte(`{"push":1}`), &none); err == nil {
		t.Errorf("an object is %v", none)
	}
}
