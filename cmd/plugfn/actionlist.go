package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// actionFilter is which requests are meant.
type actionFilter struct {
	eventFilter
	action, outcome string

	waiting bool // those that wait for a time, instead of those that ended
	limit   int
	before  uint64
}

func newActionListCommand() *cobra.Command {
	var filter actionFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List results, the newest first, or the requests that wait",
		Long: "List shows how requests ended, as long as the bus keeps it. With --waiting it shows those that are parked instead: " +
			"for their time, the next attempt, or a connection that must be authorised again.",
		Example: `plugfn action list --user u1 --outcome failed --since 1h
plugfn action list --waiting
plugfn action list --provider github --limit 200 --before 4711 -o json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := filter.prepare(); err != nil {
				return err
			}
			return withEvents(cmd, &filter.eventFilter, func(p *printer, s *eventStore) error { return filter.list(cmd, p, s) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&filter.user, "user", "", "only this user's")
	flags.StringVar(&filter.provider, "provider", "", "only this provider's")
	flags.StringVar(&filter.action, "action", "", "only those of this action, such as issues.create")
	flags.StringVar(&filter.outcome, "outcome", "", "only those that ended so: succeeded, failed, unknown")
	flags.StringVar(&filter.since, "since", "", "only those since, such as 1h or 2026-02-01T09:00:00Z")
	flags.StringVar(&filter.until, "until", "", "only those before, written alike")
	flags.BoolVar(&filter.waiting, "waiting", false, "the requests that wait, instead of results")
	flags.IntVar(&filter.limit, "limit", 50, "how many at most")
	flags.Uint64Var(&filter.before, "before", 0, "only those before this place (seq), to go on with a list")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.Bus, withOutput(cmd))
}

// prepare checks the filter and says what it means to the bus.
func (f *actionFilter) prepare() error {
	outcomes := []string{"", string(events.Succeeded), string(events.Failed), string(events.Unknown)}
	switch {
	case f.limit < 1 || f.limit > maxListed:
		return usage("", "--limit %d: must be from 1 to %d", f.limit, maxListed)
	case !slices.Contains(outcomes, f.outcome):
		return usage("", "--outcome %s: must be one of %s", f.outcome, strings.Join(outcomes[1:], ", "))
	case f.waiting && f.outcome != "":
		return usage("", "--outcome is of results: leave it or --waiting out")
	}
	f.keptIn = events.StreamResults
	f.keptAs = events.PrefixResult + wild(f.user) + "." + wild(f.provider) + "." + wild(f.outcome) + ".*"
	if f.waiting {
		f.keptIn, f.keptAs = events.StreamLater, events.PrefixLater+bus.KindAction+"."+wild(f.user)+".*"
	}
	f.also = func(e *storedEvent) bool {
		r := f.listed(e)
		return (f.action == "" || r.Action == f.action) && (f.provider == "" || r.Provider == f.provider)
	}
	return nil
}

// wild is the token of s, or any where there is none.
func wild(s string) string {
	if s == "" {
		return "*"
	}
	return events.Token(s)
}

// listedAction is a request or a result of a list.
type listedAction struct {
	Sequence   uint64    `json:"seq"`
	Stored     time.Time `json:"stored"`
	ID         string    `json:"id"`
	User       string    `json:"user"`
	Provider   string    `json:"provider"`
	Action     string    `json:"action"`
	Connection string    `json:"connection,omitempty"`
	State      string    `json:"state"`        // the outcome, or waiting
	Due        time.Time `json:"due,omitzero"` // of one that waits
	Bytes      int       `json:"bytes"`        // of the result, or the parameters
}

func (f *actionFilter) listed(e *storedEvent) listedAction {
	r := listedAction{Sequence: e.sequence, Stored: e.stored.UTC(), Bytes: e.bytes}
	if !f.waiting {
		_, r.Action, _ = strings.Cut(e.Subject, "/")
		r.ID, r.User, r.Provider, r.Connection = e.ID, e.UserID, e.Provider, e.ConnectionID
		_, r.State, _ = strings.Cut(e.Type, "plugfn.action.")
		return r
	}
	asked, _ := events.ParseActionRequest(e.header.Get(bus.HeaderTarget), e.header, nil) // as far as it can be read
	r.ID, r.User, r.Provider, r.Action, r.Connection = asked.ID, asked.UserID, asked.Provider, asked.Action, asked.ConnectionID
	r.State = "waiting"
	if at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(e.header.Get(jetstream.ScheduleHeader), "@at ")); err == nil {
		r.Due = at
	}
	return r
}

func (f *actionFilter) list(cmd *cobra.Command, p *printer, s *eventStore) error {
	from := s.last()
	if f.before > 0 {
		from = min(f.before, from)
	}
	all, more, err := s.newest(cmd.Context(), from, f.limit)
	if err != nil {
		return err
	}
	rows := make([]listedAction, len(all))
	for i, e := range all {
		rows[i] = f.listed(e)
	}
	if err := listActions(p, rows, f.waiting); err != nil {
		return err
	}
	hintRest(cmd, p, "action", all, more)
	if p.forPeople() {
		return tellQueue(cmd, s.js)
	}
	return nil
}

func listActions(p *printer, rows []listedAction, waiting bool) error {
	type row = listedAction
	columns := []column[row]{
		{title: "seq", value: func(r row) string { return fmt.Sprint(r.Sequence) }},
		{title: "stored", value: func(r row) string { return r.Stored.Local().Format(time.DateTime) }},
		{title: "action", value: func(r row) string { return clip(r.Provider+"."+r.Action, 60) }},
		{title: "id", value: func(r row) string { return clip(r.ID, 60) }},
		{title: "user", value: func(r row) string { return clip(firstOf(r.User, events.NoUser), 40) }},
		{title: "state", value: func(r row) string { return stateOf(r.State) }},
		{title: "connection", wide: true, value: func(r row) string { return safe(r.Connection) }},
		{title: "bytes", wide: true, value: func(r row) string { return fmt.Sprint(r.Bytes) }},
	}
	if waiting {
		columns = append(columns, column[row]{title: "due", value: func(r row) string { return r.Due.Local().Format(time.DateTime) }})
	}
	return list(p, rows, func(r row) string { return safe(r.ID) }, columns)
}

// stateOf shows an outcome, or that there is none yet.
func stateOf(state string) string {
	switch events.Outcome(state) {
	case events.Succeeded:
		return done(state)
	case events.Failed, events.Unknown:
		return broken(state)
	default:
		return waiting(safe(state))
	}
}

// tellQueue says how many requests no executor has seen the end of.
func tellQueue(cmd *cobra.Command, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), storeWait)
	defer cancel()
	stream, err := js.Stream(ctx, events.StreamActions)
	if err != nil {
		return &failure{exit: exitUnreachable, what: "the queue of requests cannot be read", cause: err}
	}
	// Beside everybody's requests there may be those of users with very many.
	queued, executing := uint64(0), 0
	consumers := stream.ListConsumers(ctx)
	for c := range consumers.Info() {
		queued, executing = queued+c.NumPending, executing+c.NumAckPending
	}
	if err := consumers.Err(); err != nil {
		return &failure{exit: exitUnreachable, what: "the queue of requests cannot be read", cause: err}
	}
	if queued > 0 || executing > 0 {
		hint(cmd, fmt.Sprintf("%d requests are queued, %d are being executed", queued, executing))
	}
	return nil
}
