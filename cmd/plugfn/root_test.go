package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestEveryCommandIsComplete asserts what keepErrors and the help rely on.
func TestEveryCommandIsComplete(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Args == nil || cmd.RunE == nil || cmd.Short == "" {
			t.Errorf("%s: Args, RunE and Short are needed", cmd.CommandPath())
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short is no sentence", cmd.CommandPath())
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			if line != "" && !strings.Contains(line, "plugfn ") {
				t.Errorf("%s: %q is no example of it", cmd.CommandPath(), line)
			}
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(time.Now()))
}
