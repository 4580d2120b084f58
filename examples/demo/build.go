package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// build makes the programs in dir. It is called in the repository.
func build(ctx context.Context, dir string) error {
	for name, pkg := range map[string]string{"plugfn": "./cmd/plugfn", "issue-to-slack": "./examples/issue-to-slack"} {
		if _, err := os.Stat(filepath.FromSlash(pkg)); err != nil {
			return fmt.Errorf("building %s: run the demo in the root of the repository: %w", name, err)
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name), pkg) //nolint:gosec // both are ours
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, said)
		}
	}
	return nil
}
