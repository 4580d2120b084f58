package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

func newActionCancelCommand() *cobra.Command {
	user := ""
	cmd := &cobra.Command{
		Use:   "cancel <id>",
		Short: "Take back a request that was not sent yet",
		Long: "Cancel ends a request that waits, and has one that is queued end when its turn comes. One that is being sent, or has its " +
			"result, stays as it is: that is exit code 5.",
		Example: "plugfn action cancel req_01kav8z6c5fn1rx8ye0a0wq3jb --user u1",
		Args:    exactly("id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withUser(cmd, user, func(p *printer, conn *nats.Conn) error {
				client, err := plugfn.New(conn)
				if err != nil {
					return err
				}
				c, err := client.Cancel(cmd.Context(), user, args[0])
				if err != nil {
					return err
				}
				return errors.Join(p.object(c, args[0], []field{{"id", safe(args[0])}, {"state", aboutCancel(c)}}), tooLate(c))
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "whose request it is")
	return withTarget(settings.Bus, withOutput(cmd))
}

func aboutCancel(c events.Cancellation) string {
	switch c.State {
	case events.CancelDone:
		return done("canceled")
	case events.CancelNoted:
		return waiting("noted: it is canceled when its turn comes")
	case events.CancelFinished:
		return broken("it has ended: " + safe(string(c.Outcome)))
	default:
		return broken(safe(string(c.State)))
	}
}

// tooLate is the failure of a request that was not taken back.
func tooLate(c events.Cancellation) error {
	switch c.State {
	case events.CancelDone, events.CancelNoted:
		return nil
	case events.CancelFinished:
		return &failure{exit: exitConflict, what: "the request has ended: " + safe(string(c.Outcome))}
	default:
		return &failure{exit: exitConflict, what: "the request is being sent at this moment"}
	}
}

func newActionResolveCommand() *cobra.Command {
	user, outcome, note := "", "", ""
	cmd := &cobra.Command{
		Use:   "resolve <id>",
		Short: "Note what became of a request whose outcome is unknown",
		Long: "Resolve notes what a person found out at the provider, once for a request. The result stays what it is: unknown; the " +
			"resolution stands beside it on the bus, for applications that wait for it.",
		Example: "plugfn action resolve req_01kav8z6c5fn1rx8ye0a0wq3jb --user u1 --outcome succeeded --note 'issue 42 is there'",
		Args:    exactly("id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if outcome != string(events.Succeeded) && outcome != string(events.Failed) {
				return usage("", "--outcome %q: must be %s or %s", outcome, events.Succeeded, events.Failed)
			}
			return withUser(cmd, user, func(p *printer, conn *nats.Conn) error {
				body, err := json.Marshal(map[string]string{"outcome": outcome, "note": note})
				if err != nil {
					return err
				}
				var r events.Resolution
				if err := askDesk(cmd.Context(), conn, events.ResolveSubject(user, args[0]), body, &r); err != nil {
					return err
				}
				return p.object(r, r.ID, []field{{"id", safe(r.ID)}, {"action", safe(r.Provider + "." + r.Action)}, {"resolved", done(string(r.Outcome))}, {"note", safe(r.Note)}})
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "whose request it is")
	cmd.Flags().StringVar(&outcome, "outcome", "", "what became of it: succeeded or failed")
	cmd.Flags().StringVar(&note, "note", "", "how that was found out")
	_ = cmd.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions([]string{string(events.Succeeded), string(events.Failed)}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return withTarget(settings.Bus, withOutput(cmd))
}

// askDesk asks an executor to settle a request by hand.
func askDesk(ctx context.Context, conn *nats.Conn, subject string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait+extraWait)
	defer cancel()
	msg, err := conn.RequestWithContext(ctx, subject, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return noExecutor()
	}
	if err != nil {
		return &failure{exit: exitUnreachable, what: "the executor did not answer", cause: err, fix: startFix}
	}
	var refused struct {
		Error *events.Error `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &refused); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if refused.Error != nil {
		f := failed(refused.Error)
		f.fix = "plugfn action show <id> --user <user>"
		return f
	}
	return json.Unmarshal(msg.Data, into)
}

func noExecutor() *failure {
	return &failure{exit: exitUnreachable, what: "no executor is running on this NATS server", fix: "plugfn dev, or: plugfn serve"}
}
