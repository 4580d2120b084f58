// Demo shows PlugFn at work and checks it: an issue is opened on GitHub, and a
// program of one page (examples/issue-to-slack) has a message posted to Slack
// for it. The sandbox plays both providers, so it needs no account and no
// network.
//
// It builds the programs, runs them in a temporary directory, sends one signed
// delivery and follows it through the bus. It exits with 0 only if each step
// was seen, in order and with the same id.
//
//	go run ./examples/demo
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startLimit = 30 * time.Second // for PlugFn to be ready
	chainLimit = 15 * time.Second // from the delivery to the end
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, newScreen(os.Stdout))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run is the whole demo. It leaves nothing behind: no process and no file.
func run(ctx context.Context, out *screen) (err error) {
	dir, err := os.MkdirTemp("", "plugfn-demo-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	out.title("An issue is opened on GitHub, a message appears in Slack. A sandbox plays both.")
	began := time.Now()
	if err := build(ctx, dir); err != nil {
		return err
	}
	out.note("build", time.Since(began), "plugfn, issue-to-slack")
	return play(ctx, dir, out)
}

// starter starts one of the programs.
type starter func(name string, args ...string) (*process, error)

// play runs the programs of dir and follows one delivery.
func play(ctx context.Context, dir string, out *screen) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	start := starter(func(name string, args ...string) (*process, error) {
		return startProcess(ctx, fail, dir, filepath.Join(dir, name), args...)
	})

	began := time.Now()
	data := filepath.Join(dir, ".plugfn") // where the other commands look for it
	dev, err := start("plugfn", "dev", "--data-dir", data, "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { err = dev.settle(err) }()
	at, err := ready(ctx, filepath.Join(data, "context.yaml"))
	if err != nil {
		return fmt.Errorf("plugfn dev: %w", err)
	}
	out.note("plugfn dev", time.Since(began), at.NATSURL)

	w, err := watch(at)
	if err != nil {
		return err
	}
	defer w.close()
	began = time.Now()
	example, err := start("issue-to-slack", "-once", "-nats", at.NATSURL)
	if err != nil {
		return err
	}
	defer func() { err = example.settle(err) }()
	if err := w.listener(ctx, "issue-to-slack"); err != nil {
		return fmt.Errorf("issue-to-slack: %w", err)
	}
	out.note("issue-to-slack", time.Since(began), "listening")

	return deliver(ctx, start, w, example, out)
}

// deliver sends the delivery and follows it.
func deliver(ctx context.Context, start starter, w *watcher, example *process, out *screen) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, chainLimit, fmt.Errorf("not seen within %s", chainLimit))
	defer cancel()
	sent := time.Now()
	trigger, err := start("plugfn", "trigger", "github", "issues.opened", "-o", "json")
	if err != nil {
		return err
	}
	defer func() { err = trigger.settle(err) }()
	c := chain{watcher: w, trigger: trigger, example: example}
	steps, err := c.follow(ctx, sent)
	out.chain(sent, steps)
	if err != nil {
		return err
	}
	out.end(fmt.Sprintf("One delivery, one message, %d ms. Your turn: go run ./cmd/plugfn dev", steps[len(steps)-1].at.Sub(sent).Milliseconds()))
	return nil
}
