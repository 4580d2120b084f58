package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// build makes the programs in dir. It is called in the repository.
func build(ctx context.Context, dir string) error {
	if _, err := os.Stat("cmd/plugfn"); err != nil {
		return fmt.Errorf("building: %w: run the demo in the root of the repository", err)
	}
	out := dir + string(os.PathSeparator)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, "./cmd/plugfn", "./examples/issue-to-slack") //nolint:gosec // a directory of ours
	// Killed, the go command would leave files of its own behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = grace
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w\n%s", reason(ctx, err), said)
	}
	return nil
}
