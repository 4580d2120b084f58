package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// confirm asks a person before something is destroyed.
func confirm(cmd *cobra.Command, yes bool, what string) error {
	if yes {
		return nil
	}
	if !isTerminal(cmd.InOrStdin()) {
		return usage("add --yes", "%s: nobody is there to be asked", what)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s? [y/N] ", what)
	reply, err := interruptible(cmd.Context(), func() (string, error) {
		return bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	})
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("asking: %w", err)
	case strings.EqualFold(strings.TrimSpace(reply), "y"):
		return nil
	default:
		return errors.New("nothing was done")
	}
}

// askSecret asks a person for what must not be seen.
func askSecret(cmd *cobra.Command, question string) ([]byte, error) {
	fd := int(os.Stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(cmd.ErrOrStderr(), question)
	secret, err := interruptible(cmd.Context(), func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(cmd.ErrOrStderr())
	return secret, errors.Join(err, term.Restore(fd, before)) // an interrupted read leaves the echo off
}

// interruptible reads until ctx ends. A read from a terminal cannot be called
// back: after that, its goroutine ends with the program.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type end struct {
		value T
		err   error
	}
	ends := make(chan end, 1)
	go func() {
		value, err := read()
		ends <- end{value, err}
	}()
	select {
	case e := <-ends:
		return e.value, e.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
