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
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

func newDeadRetryCommand() *cobra.Command {
	var f deadFilter
	again, yes := false, false
	cmd := &cobra.Command{
		Use:   "retry <seq|id>",
		Short: "Send a request that was given up again",
		Long: "Retry sends the request of a dead letter again, with its parameters and headers but for deadline and reply. It gets a new " +
			"id, since the old one has its one result, and names the old one in the header " + events.HeaderRetryOf + ". The new id follows " +
			"from the letter, so that a letter is carried out once however often it is retried; --again makes another one.\n\n" +
			"Where the outcome is unknown, the first one may have been carried out: that is asked about, or needs --yes.",
		Example: "plugfn dlq retry 17",
		Args:    exactly("seq|id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.prepare(args); err != nil {
				return err
			}
			return withEvents(cmd, &f.eventFilter, func(p *printer, s *eventStore) error {
				e, err := theLetter(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				return retryLetter(cmd, p, s, e, again, yes)
			})
		},
	}
	f.addTo(cmd)
	cmd.Flags().BoolVar(&again, "again", false, "once more, although it was retried before")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.Bus, withOutput(cmd))
}

// retried is what came of a retry.
type retried struct {
	Letter   uint64 `json:"letter"`
	ID       string `json:"id"`
	RetryOf  string `json:"retry_of"`
	User     string `json:"user"`
	Repeated bool   `json:"repeated"` // it was sent before; nothing is done twice
}

func retryLetter(cmd *cobra.Command, p *printer, s *eventStore, e *storedEvent, again, yes bool) error {
	l := letterOf(e)
	if l.Kind == "event" {
		return usage("plugfn event replay --dead "+safe(l.ID), "dead letter %d is a delivery that made no event: only requests can be sent again here", l.Sequence)
	}
	if l.Kind != "action" {
		return usage("plugfn dlq show "+fmt.Sprint(l.Sequence), "dead letter %d is of kind %s: only requests can be sent again", l.Sequence, safe(l.Kind))
	}
	if l.Outcome == string(events.Unknown) {
		if err := confirm(cmd, yes, fmt.Sprintf("%s may have been carried out: send it again all the same", clip(l.ID, 60))); err != nil {
			return err
		}
	}
	msg := againOf(e, &l, again)
	out := retried{Letter: l.Sequence, ID: msg.Header.Get(events.HeaderID), RetryOf: l.ID, User: l.User}
	var err error
	if out.Repeated, err = sendAgain(cmd.Context(), s.js, msg); err != nil {
		return err
	}
	status := done("sent again")
	if out.Repeated {
		status = waiting("was sent again before; --again for once more")
	}
	return p.object(out, out.ID, []field{
		{"id", safe(out.ID)},
		{"retry of", safe(out.RetryOf)},
		{"status", status},
		{"result", fmt.Sprintf("plugfn action result %s --user %s --wait 1m", safe(out.ID), safe(out.User))},
	})
}

// againOf is the request of a dead letter under a new id.
func againOf(e *storedEvent, l *letter, again bool) *nats.Msg {
	msg := nats.NewMsg(events.PrefixAction + strings.TrimPrefix(e.subject, events.PrefixDead+"action."))
	msg.Data = e.Data
	for name, values := range events.CarriedHeader(e.header) {
		if !ofLetter(name) {
			msg.Header[name] = values
		}
	}
	// The time tells letters of this stream from those of one before it.
	newID := fmt.Sprintf("retry-%d-%x", l.Sequence, l.Stored.UnixMilli())
	if again {
		newID += "-" + id.New("again")
	}
	msg.Header.Set(events.HeaderID, newID)
	msg.Header.Set(events.HeaderRetryOf, l.ID)
	msg.Header.Set(jetstream.MsgIDHeader, "dlq:"+events.Key(l.User, newID))
	return msg
}

// ofLetter tells the headers that belong to the dead letter or to its time, and
// not to the request, whatever the case of their sender.
func ofLetter(name string) bool {
	for _, own := range []string{
		events.HeaderID, events.HeaderReason, events.HeaderAttempts, events.HeaderOutcome, events.HeaderErrorCode,
		events.HeaderDeadline, events.HeaderNotBefore, events.HeaderReply, events.HeaderStream, events.HeaderRetryOf,
	} {
		if strings.EqualFold(name, own) {
			return true
		}
	}
	return false
}

// sendAgain publishes a request, unless its id has been used. It reports whether
// it has.
func sendAgain(ctx context.Context, js jetstream.JetStream, msg *nats.Msg) (bool, error) {
	user, _ := events.SubjectTokens(msg.Subject)
	stream, err := js.Stream(ctx, events.StreamResults)
	if err == nil {
		_, err = stream.GetLastMsgForSubject(ctx, events.PrefixResult+user+".*.*."+events.Token(msg.Header.Get(events.HeaderID)))
	}
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, &failure{exit: exitUnreachable, what: "the results cannot be read", cause: err, fix: startFix}
	}
	ack, err := js.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamActions))
	if err != nil {
		return false, &failure{exit: exitUnreachable, what: "the bus did not store the request", cause: err, fix: startFix}
	}
	return ack.Duplicate, nil
}

func newDeadPurgeCommand() *cobra.Command {
	var f deadFilter
	yes := false
	cmd := &cobra.Command{
		Use:   "purge [<seq|id>…]",
		Short: "Delete dead letters",
		Long:  "Purge deletes the dead letters that are named, or those that are older than --older-than and fit the other flags.",
		Example: `plugfn dlq purge 17
plugfn dlq purge --older-than 168h --provider github --yes`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (f.olderThan == "") {
				return usage("plugfn dlq list", "say which: places or ids, or --older-than")
			}
			if f.olderThan != "" {
				if age, err := time.ParseDuration(f.olderThan); err != nil || age < 0 {
					return usage("", "--older-than %q: want a duration, such as 168h", f.olderThan)
				}
			}
			f.until = f.olderThan
			if err := f.prepare(args); err != nil {
				return err
			}
			return withEvents(cmd, &f.eventFilter, func(p *printer, s *eventStore) error { return purgeLetters(cmd, p, s, args, yes) })
		},
	}
	f.addTo(cmd)
	cmd.Flags().StringVar(&f.olderThan, "older-than", "", "those that were given up longer ago, such as 168h")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.Bus, withOutput(cmd))
}

func purgeLetters(cmd *cobra.Command, p *printer, s *eventStore, args []string, yes bool) error {
	var places []uint64
	err := s.scan(cmd.Context(), s.state.FirstSeq, s.last(), func(e *storedEvent) error {
		places = append(places, e.sequence)
		return nil
	})
	if err != nil {
		return err
	}
	if len(places) == 0 && len(args) > 0 {
		return noLetter(args[0])
	}
	if len(places) > 0 {
		if err := confirm(cmd, yes, fmt.Sprintf("delete %d dead letters", len(places))); err != nil {
			return err
		}
	}
	for i, place := range places {
		if err := s.stream.DeleteMsg(cmd.Context(), place); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return &failure{exit: exitUnreachable, what: fmt.Sprintf("%d of %d were deleted", i, len(places)), cause: err}
		}
	}
	return p.object(map[string]int{"deleted": len(places)}, fmt.Sprint(len(places)), []field{{"deleted", done(fmt.Sprint(len(places)))}})
}
