package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

func newActionResultCommand() *cobra.Command {
	user, save, wait := "", "", time.Duration(0)
	cmd := &cobra.Command{
		Use:   "result <id>",
		Short: "Show the result of a request that was sent before",
		Example: `plugfn action result req_01kav8z6c5fn1rx8ye0a0wq3jb --user demo
plugfn action result req_01kav8z6c5fn1rx8ye0a0wq3jb --user demo --wait 10m`,
		Args: exactly("id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return usage("", "--wait %s: must not be below zero", wait)
			}
			return withUser(cmd, user, func(p *printer, conn *nats.Conn) error {
				result, err := awaitResult(cmd.Context(), conn, user, args[0], wait)
				if err != nil {
					return err
				}
				return errors.Join(showResult(cmd.Context(), conn, p, result), saveFile(cmd, conn, result, save))
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "whose request it was")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait so long for it, such as 1m")
	cmd.Flags().Lookup("wait").DefValue = "" // not at all
	cmd.Flags().StringVar(&save, "save", "", saveHelp)
	return withTarget(settings.Bus, withOutput(cmd))
}

// awaitResult is findResult, for a result that may come within a while.
func awaitResult(ctx context.Context, conn *nats.Conn, user, id string, patience time.Duration) (*events.Result, error) {
	if patience == 0 {
		return findResult(ctx, conn, user, id)
	}
	client, err := plugfn.New(conn, plugfn.WithMaxData(-1))
	if err != nil {
		return nil, err
	}
	waiting, stop := impatient(ctx, patience)
	defer stop()
	r, err := client.Await(waiting, user, id)
	return resultOr(ctx, &r, err, &failure{
		exit: exitTimeout, what: fmt.Sprintf("no result of %s within %s", clip(id, 80), patience),
		fix: fmt.Sprintf("plugfn action show %s --user %s", clip(id, 80), safe(user)),
	})
}

// resultSubject is where the result of a request comes.
func resultSubject(user, id string) string {
	return events.PrefixResult + events.Token(user) + ".*.*." + events.Token(id)
}

// findResult looks for a result among those that the bus keeps.
func findResult(ctx context.Context, conn *nats.Conn, user, id string) (*events.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, events.StreamResults)
	if err != nil {
		return nil, &failure{exit: exitUnreachable, what: "the results cannot be read", cause: err, fix: startFix}
	}
	msg, err := stream.GetLastMsgForSubject(ctx, resultSubject(user, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, &failure{exit: exitNotFound, what: fmt.Sprintf("user %s has no result of %s", user, id), fix: "it may still be waiting for its time or its turn: try again later"}
	}
	if err != nil {
		return nil, &failure{exit: exitUnreachable, what: "the result cannot be read", cause: err}
	}
	result, err := events.ParseResult(msg.Data)
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// maxData bounds the data that is fetched beside a message, in bytes.
const maxData = 128 << 20

// fetchData fetches the data of a result that was too long for it.
func fetchData(ctx context.Context, conn *nats.Conn, r *events.Result) error {
	ctx, cancel := context.WithTimeout(ctx, usualWait)
	defer cancel()
	err := events.Payloads{Conn: conn}.ResolveResult(ctx, r, maxData)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, events.ErrPayloadGone):
		return &failure{exit: exitNotFound, what: "the data of the result is not stored any more", cause: err}
	default:
		return &failure{exit: exitUnreachable, what: "the data of the result cannot be fetched", cause: err, fix: startFix}
	}
}

// showResult prints a result with all its data. One that did not succeed is an
// error as well.
func showResult(ctx context.Context, conn *nats.Conn, p *printer, r *events.Result) error {
	missing := fetchData(ctx, conn, r)
	status := done(string(r.Outcome))
	if r.Outcome != events.Succeeded {
		status = broken(string(r.Outcome))
	}
	err := p.object(r, r.ID, []field{
		{"id", safe(r.ID)},
		{"status", fmt.Sprintf("%s  %s", status, faint(strings.Join(aboutResult(r), ", ")))},
		{"connection", safe(r.ConnectionID)},
		{"output", outputOf(r)},
	})
	switch {
	case err != nil:
		return err
	case missing != nil:
		return missing
	case r.Error != nil:
		return adviseOn(r)
	case r.Outcome != events.Succeeded:
		return &failure{exit: exitProvider, what: "the action ended as " + string(r.Outcome)}
	default:
		return nil
	}
}

// outputOf is the data of a result, or where it is.
func outputOf(r *events.Result) string {
	if r.DataRef != nil {
		return fmt.Sprintf("%d bytes at %s", r.DataRef.Size, safe(r.DataRef.Subject))
	}
	return safe(string(r.Data))
}

func aboutResult(r *events.Result) []string {
	about := []string{fmt.Sprintf("%d ms", r.DurationMS)}
	switch {
	case r.Attempts == 0:
		about = append(about, "nothing was sent to "+safe(r.Provider))
	case r.Attempts > 1:
		about = append(about, fmt.Sprintf("%d attempts", r.Attempts))
	}
	if r.Cached {
		about = append(about, "cached")
	}
	return about
}

// adviseOn is the failure of a result, with the command that helps.
func adviseOn(r *events.Result) error {
	f := failed(r.Error)
	switch r.Error.Code {
	case events.CodeUnknownAction, events.CodeInvalidParams:
		f.fix = "plugfn provider show " + safe(r.Provider)
		if r.Error.Code == events.CodeInvalidParams {
			f.fix += " --action " + safe(r.Action)
		}
	case events.CodeConnectionNotFound:
		f.fix = fmt.Sprintf("plugfn connection create %s --user %s", safe(r.Provider), safe(r.UserID))
	case events.CodeConnectionAmbiguous:
		f.fix = fmt.Sprintf("choose one with --connection, from: plugfn connection list --user %s", safe(r.UserID))
	}
	return f
}
