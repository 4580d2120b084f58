package workflow_test

import (
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
