// Command plugfn is the one program of PlugFn: all services in one process
// (dev, serve), one of them (serve executor), and the commands that talk to
// them.
//
// It alone reads the environment, listens, and wires services to the bus and to
// each other. Standard output is for data, standard error for everything else;
// `plugfn help exit-codes` lists what it exits with.
//
// Allowed imports: everything. Nobody imports it.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "dev" //nolint:gochecknoglobals // the linker's -X needs a variable

func main() { os.Exit(int(run(time.Now(), os.Args[1:]))) }

// run executes one command line. The first signal ends its context, the second
// the process.
func run(started time.Time, args []string) exitCode {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot(started)
	root.SetArgs(args)
	err := execute(ctx, root, args)
	switch {
	case err == nil:
		return exitOK
	case isInterruption(ctx, err):
		return exitInterrupted
	default:
		return failureOf(err).exit
	}
}

func execute(ctx context.Context, root *cobra.Command, args []string) error {
	return fang.Execute(ctx, root,
		fang.WithVersion(version),
		fang.WithCommit(build().commit),
		fang.WithErrorHandler(func(w io.Writer, _ fang.Styles, err error) {
			if !isInterruption(ctx, err) {
				report(w, err, wantsJSON(args))
			}
		}))
}

// isInterruption tells an error that a signal caused; the person knows of it.
func isInterruption(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
