package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// grace is how long a program may take to end once it is asked to.
const grace = 5 * time.Second

// process is a running program, the leader of a process group of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	out  tail // standard output
	said tail // standard error
	stop context.CancelFunc
	done chan struct{} // closed when the program has ended and err is set
	err  error
}

// startProcess starts a program in dir, without the settings that the person
// has for a PlugFn of his own. It ends with ctx, and if it ends by itself with
// an error, it ends ctx. Whoever starts it settles it.
func startProcess(ctx context.Context, fail context.CancelCauseFunc, dir, path string, args ...string) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{name: filepath.Base(path), stop: cancel, done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...) //nolint:gosec // a program that was built here
	p.cmd.Dir = dir
	p.cmd.Env = environment()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.said
	ownGroup(p.cmd)
	p.cmd.Cancel = func() error { return endGroup(p.cmd.Process) }
	p.cmd.WaitDelay = grace
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
		killGroup(p.cmd.Process) // what the program has left behind
		if p.err != nil {
			fail(fmt.Errorf("%s: %w", p.name, p.err))
		}
	}()
	return p, nil
}

// settle ends the program and waits for it. To an error it adds what the
// program has said last before that.
func (p *process) settle(err error) error {
	last := p.said.String()
	p.stop()
	<-p.done
	if err != nil && last != "" {
		return fmt.Errorf("%w\n\nlast words of %s:\n%s", err, p.name, last)
	}
	return err
}

// wait waits until the program has ended by itself.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// environment is the one that this program has, without PlugFn's variables.
func environment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PLUGFN_") && !strings.HasPrefix(variable, "NATS_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const maxTail = 4 << 10 // bytes

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	return len(b), nil
}

// String returns whole lines, unless all that is kept is one.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(t.kept)
	if _, rest, ok := strings.Cut(text, "\n"); ok && len(t.kept) == maxTail && rest != "" {
		text = rest
	}
	return strings.TrimSpace(text)
}
