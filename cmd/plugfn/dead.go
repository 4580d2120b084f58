package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
)

func newDeadCommand() *cobra.Command {
	return noun("dlq", "dead", "Look at what was given up, and try it again",
		newDeadListCommand(), newDeadShowCommand(), newDeadRetryCommand(), newDeadPurgeCommand())
}

// deadFilter is which dead letters are meant.
type deadFilter struct {
	eventFilter
	kind, code, olderThan string

	limit  int
	before uint64
}

func (f *deadFilter) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "only those of one kind: action, event, run")
	flags.StringVar(&f.user, "user", "", "only this user's")
	flags.StringVar(&f.provider, "provider", "", "only this provider's")
	flags.StringVar(&f.code, "code", "", "only those whose last error has this code, such as provider_unavailable")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders)                                                                          // the flag is there
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"action", "event", "run"}, cobra.ShellCompDirectiveNoFileComp)) // this one, too
}

// prepare checks the filter and says what it means to the bus. args are places
// or ids; none: all.
func (f *deadFilter) prepare(args []string) error {
	if !slices.Contains([]string{"", "action", "event", "run"}, f.kind) {
		return usage("", "--kind %s: must be action, event or run", f.kind)
	}
	f.keptIn = events.StreamDead
	f.keptAs = events.PrefixDead + wild(f.kind) + "." + wild(f.user) + "." + wild(f.provider) + ".>"
	f.also = func(e *storedEvent) bool {
		l := letterOf(e)
		return (f.code == "" || l.Code == f.code) &&
			(len(args) == 0 || slices.Contains(args, l.ID) || slices.Contains(args, strconv.FormatUint(l.Sequence, 10)))
	}
	return nil
}

// letter is a dead letter.
type letter struct {
	Sequence uint64          `json:"seq"`
	Stored   time.Time       `json:"stored"`
	Kind     string          `json:"kind"`
	ID       string          `json:"id"` // of the request or the delivery
	User     string          `json:"user"`
	Provider string          `json:"provider"`
	Name     string          `json:"name"` // of the action or the event
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	Outcome  string          `json:"outcome,omitempty"`
	Code     string          `json:"code,omitempty"` // of the last error
	Bytes    int             `json:"bytes"`
	Body     json.RawMessage `json:"body,omitempty"`
}

func letterOf(e *storedEvent) letter {
	head := func(name string) string { return events.HeaderValue(e.header, name) }
	kind, rest, _ := strings.Cut(strings.TrimPrefix(e.subject, events.PrefixDead), ".")
	l := letter{
		Sequence: e.sequence, Stored: e.stored.UTC(), Kind: kind, ID: e.ID, User: e.UserID, Provider: e.Provider, Name: e.EventName,
		Reason: head(events.HeaderReason), Outcome: head(events.HeaderOutcome), Code: head(events.HeaderErrorCode), Bytes: e.bytes,
	}
	l.Attempts, _ = strconv.Atoi(head(events.HeaderAttempts)) // 0 where it was not tried
	if asked, _ := events.ParseActionRequest(events.PrefixAction+rest, e.header, nil); kind == "action" {
		l.ID, l.User, l.Provider, l.Name = asked.ID, asked.UserID, asked.Provider, asked.Action
	}
	return l
}

func newDeadListCommand() *cobra.Command {
	var f deadFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest first",
		Long: "List shows requests that were given up, with the reason, and deliveries that were genuine and could not be read. " +
			"They are kept for 30 days.",
		Example: `plugfn dlq list --kind action --provider github --since 24h
plugfn dlq list --code provider_unavailable -o json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.limit < 1 || f.limit > maxListed {
				return usage("", "--limit %d: must be from 1 to %d", f.limit, maxListed)
			}
			if err := f.prepare(nil); err != nil {
				return err
			}
			return withEvents(cmd, &f.eventFilter, func(p *printer, s *eventStore) error { return f.list(cmd, p, s) })
		},
	}
	f.addTo(cmd)
	cmd.Flags().StringVar(&f.since, "since", "", "only those since, such as 1h or 2026-02-01T09:00:00Z")
	cmd.Flags().StringVar(&f.until, "until", "", "only those before, written alike")
	cmd.Flags().IntVar(&f.limit, "limit", 50, "how many at most")
	cmd.Flags().Uint64Var(&f.before, "before", 0, "only those before this place (seq), to go on with a list")
	return withTarget(settings.Bus, withOutput(cmd))
}

func (f *deadFilter) list(cmd *cobra.Command, p *printer, s *eventStore) error {
	from := s.last()
	if f.before > 0 {
		from = min(f.before, from)
	}
	all, more, err := s.newest(cmd.Context(), from, f.limit)
	if err != nil {
		return err
	}
	type row = letter
	rows := make([]row, len(all))
	for i, e := range all {
		rows[i] = letterOf(e)
	}
	err = list(p, rows, func(r row) string { return fmt.Sprint(r.Sequence) }, []column[row]{
		{title: "seq", value: func(r row) string { return fmt.Sprint(r.Sequence) }},
		{title: "stored", value: func(r row) string { return r.Stored.Local().Format(time.DateTime) }},
		{title: "kind", value: func(r row) string { return safe(r.Kind) }},
		{title: "what", value: func(r row) string { return clip(r.what(), 60) }},
		{title: "id", value: func(r row) string { return clip(r.ID, 60) }},
		{title: "user", value: func(r row) string { return clip(firstOf(r.User, events.NoUser), 40) }},
		{title: "attempts", value: func(r row) string { return fmt.Sprint(r.Attempts) }},
		{title: "error", value: func(r row) string { return safe(r.Code) }},
		{title: "reason", value: func(r row) string { return clip(r.Reason, 80) }},
		{title: "outcome", wide: true, value: func(r row) string { return safe(r.Outcome) }},
		{title: "bytes", wide: true, value: func(r row) string { return fmt.Sprint(r.Bytes) }},
	})
	if err != nil {
		return err
	}
	hintRest(cmd, p, "dead letter", all, more)
	return nil
}

func (l *letter) what() string { return strings.TrimSuffix(l.Provider+"."+l.Name, ".") }

func newDeadShowCommand() *cobra.Command {
	var f deadFilter
	cmd := &cobra.Command{
		Use:   "show <seq|id>",
		Short: "Show one dead letter with its body",
		Long: "Show prints a dead letter, named by its place (seq) or the id of its request or delivery. Its body is what came, " +
			"secrets among it.",
		Example: "plugfn dlq show 17",
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
				return errors.Join(showLetter(p, e), withoutData(e))
			})
		},
	}
	f.addTo(cmd)
	return withTarget(settings.Bus, withOutput(cmd))
}

// theLetter is the newest dead letter that fits.
func theLetter(ctx context.Context, s *eventStore, name string) (*storedEvent, error) {
	found, _, err := s.newest(ctx, s.last(), 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, noLetter(name)
	}
	return s.whole(ctx, found[0].sequence)
}

func noLetter(name string) *failure {
	return &failure{exit: exitNotFound, what: fmt.Sprintf("no dead letter is called %q", clip(name, 80)), fix: "plugfn dlq list"}
}

func showLetter(p *printer, e *storedEvent) error {
	l := letterOf(e)
	if json.Valid(e.Data) {
		l.Body = e.Data
	}
	err := p.object(l, fmt.Sprint(l.Sequence), []field{
		{"seq", fmt.Sprint(l.Sequence)},
		{"kind", safe(l.Kind)},
		{"what", safe(l.what())},
		{"id", safe(l.ID)},
		{"user", safe(firstOf(l.User, events.NoUser))},
		{"given up", localTime(l.Stored, time.RFC3339)},
		{"reason", safe(l.Reason)},
		{"attempts", fmt.Sprint(l.Attempts)},
		{"outcome", safe(l.Outcome)},
		{"last error", safe(l.Code)},
		{"body", fmt.Sprintf("%d bytes", len(e.Data))},
	})
	if err != nil || !p.forPeople() {
		return err
	}
	return printBody(p.out, e.Data)
}
