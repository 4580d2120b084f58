package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
)

// maxListed is how many events one list may have.
const maxListed = 10_000

func newEventListCommand() *cobra.Command {
	var filter eventFilter
	limit, before := 0, uint64(0)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the events that are kept, the newest first",
		Example: `plugfn event list --provider github --event issues.* --since 1h
plugfn event list --dead
plugfn event list --limit 200 --before 4711 -o json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxListed {
				return usage("", "--limit %d: must be from 1 to %d", limit, maxListed)
			}
			return withEvents(cmd, &filter, func(p *printer, s *eventStore) error {
				from := s.last()
				if before > 0 {
					from = min(before, from)
				}
				all, more, err := s.newest(cmd.Context(), from, limit)
				if err != nil {
					return err
				}
				if err := listEvents(p, all); err != nil {
					return err
				}
				hintRest(cmd, p, "event", all, more)
				return nil
			})
		},
	}
	filter.addTo(cmd)
	filter.addDeadTo(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most")
	cmd.Flags().Uint64Var(&before, "before", 0, "only those before this place (seq), to go on with a list")
	return withTarget(settings.Bus, withOutput(cmd))
}

// withEvents opens the store of events for a command.
func withEvents(cmd *cobra.Command, filter *eventFilter, do func(*printer, *eventStore) error) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	if err := filter.check(time.Now()); err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	conn, err := t.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := openEvents(cmd.Context(), conn, filter)
	if err != nil {
		return err
	}
	return do(p, s)
}

// listedEvent is an event of a list.
type listedEvent struct {
	Sequence   uint64          `json:"seq"`
	Stored     time.Time       `json:"stored"`
	ID         string          `json:"id"`
	Subject    string          `json:"subject"`
	User       string          `json:"user,omitempty"`
	Provider   string          `json:"provider,omitempty"`
	Event      string          `json:"event,omitempty"`
	Type       string          `json:"type,omitempty"`
	Connection string          `json:"connection,omitempty"`
	Account    string          `json:"account,omitempty"`
	Verified   events.Verified `json:"verified,omitempty"`
	Bytes      int             `json:"bytes"`
	ReplayOf   string          `json:"replay_of,omitempty"`
	Reason     string          `json:"reason,omitempty"` // of a dead letter
}

func listed(e *storedEvent) listedEvent {
	return listedEvent{
		Sequence: e.sequence, Stored: e.stored.UTC(), ID: e.ID, Subject: e.subject, User: e.UserID, Provider: e.Provider,
		Event: e.EventName, Type: e.Type, Connection: e.ConnectionID, Account: e.Account, Verified: e.Verified, Bytes: e.bytes,
		ReplayOf: e.Extensions[replayOf], Reason: events.HeaderValue(e.header, events.HeaderReason),
	}
}

func listEvents(p *printer, all []*storedEvent) error {
	type row = listedEvent
	rows := make([]row, len(all))
	for i, e := range all {
		rows[i] = listed(e)
	}
	return list(p, rows, func(r row) string { return safe(r.ID) }, []column[row]{
		{title: "seq", value: func(r row) string { return fmt.Sprint(r.Sequence) }},
		{title: "stored", value: func(r row) string { return r.Stored.Local().Format(time.DateTime) }},
		{title: "event", value: func(r row) string { return clip(firstOf(nameOf(r), r.Type), 60) }},
		{title: "id", value: func(r row) string { return clip(r.ID, 60) }},
		{title: "user", value: func(r row) string { return clip(firstOf(r.User, events.NoUser), 40) }},
		{title: "account", value: func(r row) string { return clip(r.Account, 40) }},
		{title: "verified", value: func(r row) string { return safe(string(r.Verified)) }},
		{title: "bytes", wide: true, value: func(r row) string { return fmt.Sprint(r.Bytes) }},
		{title: "connection", wide: true, value: func(r row) string { return safe(r.Connection) }},
		{title: "replay of", wide: true, value: func(r row) string { return clip(r.ReplayOf, 60) }},
		{title: "reason", wide: true, value: func(r row) string { return clip(r.Reason, 120) }},
	})
}

func nameOf(r listedEvent) string {
	if r.Event == "" {
		return r.Provider
	}
	return r.Provider + "." + r.Event
}

const formRaw = "raw" // of show only: the body and nothing else

func newEventShowCommand() *cobra.Command {
	var filter eventFilter
	cmd := &cobra.Command{
		Use:   "show <id>",
		Short: "Show one event with its body",
		Long: "Show prints the attributes of an event and its body. With -o raw it prints the body alone, byte for byte; with -o json the " +
			"CloudEvent. Of several events with this id (one for each connection, and replays) the newest is shown; choose with --user.",
		Example: `plugfn event show 72d3162e-cc78-11e3-81ab-4c9367dc0958
plugfn event show 72d3162e-cc78-11e3-81ab-4c9367dc0958 -o raw > body.json`,
		Args: exactly("id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			form, _ := cmd.Flags().GetString("output") // the flag is there
			if form == formRaw {
				_ = cmd.Flags().Set("output", "")
			}
			filter.ids = args
			return withEvents(cmd, &filter, func(p *printer, s *eventStore) error { return showEvent(cmd, p, s, form == formRaw) })
		},
	}
	filter.addSubjectTo(cmd)
	filter.addDeadTo(cmd)
	return withTarget(settings.Bus, withOutput(cmd))
}

func showEvent(cmd *cobra.Command, p *printer, s *eventStore, raw bool) error {
	found, more, err := s.newest(cmd.Context(), s.last(), 1)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return &failure{exit: exitNotFound, what: fmt.Sprintf("no event that is kept has the id %q", clip(s.filter.ids[0], 80)), fix: s.filter.listCommand()}
	}
	e, err := s.whole(cmd.Context(), found[0].sequence)
	if err != nil {
		return err
	}
	if more {
		hint(cmd, "there are older events with this id: plugfn event list --user …")
	}
	gone := withoutData(e)
	if raw {
		if gone == nil {
			_, gone = cmd.OutOrStdout().Write(e.Data)
		}
		return gone
	}
	if err := p.object(cloudEvent(&e.Event), e.ID, eventFields(e)); err != nil || gone != nil || !p.forPeople() {
		return errors.Join(err, gone)
	}
	return printBody(p.out, e.Data)
}

// withoutData is the failure to get the data of an event, nil if it is there.
func withoutData(e *storedEvent) error {
	switch {
	case e.missing == nil:
		return nil
	case errors.Is(e.missing, events.ErrPayloadGone):
		return &failure{exit: exitNotFound, what: "the data of the event is not kept any more", cause: e.missing}
	default:
		return &failure{exit: exitFailure, what: "the data of the event cannot be had", cause: e.missing}
	}
}

func eventFields(e *storedEvent) []field {
	fields := []field{
		{"id", safe(e.ID)},
		{"event", safe(nameOf(listed(e)))},
		{"type", safe(e.Type)},
		{"subject", safe(e.Subject)},
		{"user", safe(firstOf(e.UserID, events.NoUser))},
		{"connection", safe(e.ConnectionID)},
		{"account", safe(e.Account)},
		{"verified", safe(string(e.Verified))},
		{"happened", e.Time.Local().Format(time.RFC3339)},
		{"stored", fmt.Sprintf("%s, seq %d of %s", e.stored.Local().Format(time.RFC3339), e.sequence, e.subject)},
		{"source", safe(e.Source)},
		{"reason", safe(events.HeaderValue(e.header, events.HeaderReason))},
	}
	for _, name := range names(e.Extensions) {
		fields = append(fields, field{safe(name), safe(e.Extensions[name])})
	}
	return append(fields, field{"body", strings.TrimSpace(fmt.Sprintf("%d bytes %s", e.bytes, safe(e.DataContentType)))})
}

// printBody shows a body to a person.
func printBody(w io.Writer, body []byte) error {
	var doc any
	text := string(body)
	if json.Unmarshal(body, &doc) == nil {
		if pretty, err := json.MarshalIndent(json.RawMessage(body), "", "  "); err == nil {
			text = string(pretty)
		}
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = safe(lines[i])
	}
	_, err := fmt.Fprintln(w, "\n"+strings.Join(lines, "\n"))
	return err
}

// hintRest says that there are none in a list, or that there are more.
func hintRest(cmd *cobra.Command, p *printer, of string, all []*storedEvent, more bool) {
	switch {
	case len(all) == 0 && p.forPeople():
		hint(cmd, "no "+of+" that is kept fits")
	case more:
		hint(cmd, fmt.Sprintf("there are older ones: --before %d", all[len(all)-1].sequence))
	}
}
