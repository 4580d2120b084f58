package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

// batchOptions are the flags of a batch.
type batchOptions struct {
	file, ledger, user string

	concurrency int
}

func newActionBatchCommand() *cobra.Command {
	var o batchOptions
	cmd := &cobra.Command{
		Use:   "batch -f <file>",
		Short: "Run the actions of a file and print their results",
		Long: "Batch runs one action for each line of a file, several at a time, and prints what came of each, in the order of the file, " +
			"as one line of JSON. A line is {\"user\": …, \"action\": \"github.issues.create\", \"params\": {…}}, with \"id\" and " +
			"\"connection\" if need be. One that fails does not stop the others; at the end the exit code is 6 if one did.\n\n" +
			"A line without an id gets one that follows from the whole file and its number: run again with the same file, what was done " +
			"is not done twice, and gives its stored result. With --ledger what ended is noted in a file as well, and not even asked for.\n\n" +
			"Data of more than 900 KiB is not in the line: its dataref says where it is, and plugfn action result fetches it.",
		Example: `plugfn action batch -f issues.jsonl > results.jsonl
plugfn action batch -f issues.jsonl --ledger issues.done --concurrency 4`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "the file, or - for standard input")
	flags.StringVar(&o.ledger, "ledger", "", "file to note in what ended, and to go on from")
	flags.StringVar(&o.user, "user", "", "whose connection acts, where a line does not say")
	flags.IntVar(&o.concurrency, "concurrency", 16, "how many at a time, up to 256")
	return withTarget(settings.Bus, cmd)
}

func (o *batchOptions) run(cmd *cobra.Command) error {
	if o.concurrency < 1 || o.concurrency > 256 {
		return usage("", "--concurrency %d: must be from 1 to 256", o.concurrency)
	}
	if o.file == "" {
		return usage("plugfn action batch --help", "-f is missing: the file with the actions")
	}
	lines, err := readBatch(o.file, cmd.InOrStdin(), o.user)
	if err != nil {
		return err
	}
	ledger, err := openLedger(o.ledger)
	if err != nil {
		return err
	}
	defer ledger.close()
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	client, err := t.client()
	if err != nil {
		return err
	}
	defer client.NATS().Close()
	b := batch{client: client, lines: lines, ledger: ledger, places: o.concurrency, out: cmd.OutOrStdout()}
	if isTerminal(cmd.ErrOrStderr()) {
		b.progress = cmd.ErrOrStderr()
	}
	return b.run(cmd.Context())
}

// batch runs the actions of a file.
type batch struct {
	client   *plugfn.Client
	lines    []events.ActionRequest
	ledger   *batchLedger
	places   int
	out      io.Writer
	progress io.Writer // nil: nobody looks

	failed int
}

// ended is what came of one line.
type ended struct {
	Line   int            `json:"line"` // from 1
	ID     string         `json:"id"`
	Result *events.Result `json:"result,omitempty"`
	Error  *problem       `json:"error,omitempty"` // why there is no result

	cause error
}

func (e *ended) succeeded() bool { return e.Result != nil && e.Result.Outcome == events.Succeeded }

// run returns once all lines have ended, or one shows that no other can.
func (b *batch) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer stop()
	// The places bound what is asked for at once, and what has ended out of turn.
	turns := make(chan chan *ended, b.places-1)
	asking.Go(func() {
		defer close(turns)
		for i := range b.lines {
			turn := make(chan *ended, 1)
			select {
			case turns <- turn:
			case <-ctx.Done():
				return
			}
			asking.Go(func() { turn <- b.ask(ctx, i) })
		}
	})
	n := 0
	for turn := range turns {
		e := <-turn
		if stops(ctx, e) {
			return b.stopped(ctx, n, e)
		}
		n++
		if err := b.note(e); err != nil {
			return err
		}
		b.tell(n)
	}
	switch {
	case ctx.Err() != nil:
		return b.stopped(ctx, n, &ended{})
	case b.failed > 0:
		return &failure{exit: exitProvider, what: fmt.Sprintf("%d of %d actions did not succeed", b.failed, len(b.lines))}
	}
	return nil
}

// ask has one line carried out, unless the ledger knows its end.
func (b *batch) ask(ctx context.Context, i int) *ended {
	request := &b.lines[i]
	e := &ended{Line: i + 1, ID: request.ID}
	if e.Result = b.ledger.known(request); e.Result != nil {
		return e
	}
	if e.Result, e.cause = call(ctx, b.client, request); e.cause != nil {
		p := failureOf(e.cause).problem()
		e.Error = &p
	}
	return e
}

// stops reports whether e says that no line can be carried out at the moment.
func stops(ctx context.Context, e *ended) bool {
	return ctx.Err() != nil && e.cause != nil || e.cause != nil && failureOf(e.cause).exit == exitUnreachable
}

func (b *batch) stopped(ctx context.Context, n int, e *ended) error {
	f := &failure{exit: exitInterrupted, what: fmt.Sprintf("interrupted after %d of %d actions", n, len(b.lines)), fix: "go on with the same command"}
	if ctx.Err() == nil {
		f.exit, f.cause = exitUnreachable, e.cause
	}
	return f
}

func (b *batch) note(e *ended) error {
	if !e.succeeded() {
		b.failed++
	}
	if err := b.ledger.add(e); err != nil {
		return err
	}
	return (&printer{out: b.out}).json(e, "")
}

// tell shows a person how far it is.
func (b *batch) tell(n int) {
	if b.progress == nil {
		return
	}
	const width = 30
	full, end := n*width/len(b.lines), ""
	if n == len(b.lines) {
		end = "\n"
	}
	bar := fmt.Sprintf("%-*.*s", width, full, "##############################")
	_, err := fmt.Fprintf(b.progress, "\r[%s] %d of %d, %d failed%s", bar, n, len(b.lines), b.failed, end)
	if errors.Is(err, io.ErrClosedPipe) {
		b.progress = nil
	}
}
