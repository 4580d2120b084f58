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
	_ "time/tzdata" // time zones where the system has none

	"charm.land/fang/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "dev"

func main() { os.Exit(int(run(time.Now(), os.Args[1:]))) }

// run executes one command line. The first signal ends its context, the second
// the process.
func run(started time.Time, args []string) exitCode {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot(started)
	root.SetArgs(args)
	err := execute(ctx, root)
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted // the person knows
	default:
		report(colorprofile.NewWriter(os.Stderr, os.Environ()), err, wantsJSON(args))
		return failureOf(err).exit
	}
}

// execute runs the command that the arguments of root name.
func execute(ctx context.Context, root *cobra.Command) error {
	var failed error
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		failed = usage(cmd.CommandPath()+" --help", "%v", err)
		return nil
	})
	keepErrors(root, &failed)
	err := fang.Execute(ctx, root,
		fang.WithVersion(version), fang.WithCommit(build().commit),
		fang.WithErrorHandler(func(io.Writer, fang.Styles, error) {})) // run reports
	return errors.Join(failed, err)
}

// keepErrors has cmd and the commands below it put their error into failed
// instead of giving it to fang: before fang lets one be reported it asks the terminal for
// its colours, which takes seconds where the terminal does not answer.
func keepErrors(cmd *cobra.Command, failed *error) {
	for _, sub := range cmd.Commands() {
		keepErrors(sub, failed)
	}
	check, do := cmd.Args, cmd.RunE
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *failed = check(cmd, args); *failed == nil {
			*failed = do(cmd, args)
		}
		return nil
	}
}
