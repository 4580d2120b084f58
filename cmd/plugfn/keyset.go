package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/services/auth"
)

// keysetWrapper is what wraps the keyset, nil for nothing.
func keysetWrapper(s *settings.Settings) (auth.Wrapper, error) {
	command := strings.Fields(s.KEKCommand)
	switch {
	case len(command) > 0 && !s.KEK.IsZero():
		return nil, usage("", "%s and %s: set one of them", s.Origin("kek"), s.Origin("kek_command"))
	case len(command) > 0:
		return kekCommand(command), nil
	case s.KEK.IsZero():
		return nil, nil
	}
	kek, err := auth.NewKEK(s.KEK)
	if err != nil {
		return nil, usage("openssl rand -base64 32", "%s %v", s.Origin("kek"), err)
	}
	return kek, nil
}

// kekCommand is a program, with arguments, that wraps and unwraps the keyset.
// It gets one more argument, wrap or unwrap; bytes go in and out by its standard
// streams.
type kekCommand []string

const (
	kekTimeout   = 30 * time.Second
	maxKEKOutput = 1 << 20 // bytes
	maxKEKError  = 300     // bytes of what it says
)

// Wrap runs the program.
func (c kekCommand) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	return c.run(ctx, "wrap", plain)
}

// Unwrap runs the program.
func (c kekCommand) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	return c.run(ctx, "unwrap", wrapped)
}

func (c kekCommand) run(ctx context.Context, verb string, in []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, kekTimeout)
	defer cancel()
	out, said := &bounded{limit: maxKEKOutput}, &bounded{limit: maxKEKError}
	args := append(append([]string{}, c[1:]...), verb)
	cmd := exec.CommandContext(ctx, c[0], args...) //nolint:gosec // the operator names the program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err != nil:
		return nil, fmt.Errorf("running %s %s: %w: %s", c[0], verb, err, strings.Join(strings.Fields(safe(said.String())), " "))
	case out.cut:
		return nil, fmt.Errorf("running %s %s: its output is longer than %d bytes", c[0], verb, maxKEKOutput)
	case out.Len() == 0:
		return nil, fmt.Errorf("running %s %s: it has written nothing", c[0], verb)
	}
	return out.Bytes(), nil
}

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	bytes.Buffer
	limit int
	cut   bool
}

// Write takes everything, so that who writes can end.
func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.limit-b.Len())
	b.cut = b.cut || keep < len(p)
	_, _ = b.Buffer.Write(p[:keep]) // never fails
	return len(p), nil
}
