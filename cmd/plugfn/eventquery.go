package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/pkg/events"
)

// eventFilter is which of the stored events are meant.
type eventFilter struct {
	user, provider, event, account, verified, since, until string

	dead bool
	ids  []string // empty: whatever their id

	// Of what is no event: where it is kept, and which of it is meant.
	keptIn, keptAs string
	also           func(*storedEvent) bool

	from, to time.Time // of since and until, by when they were stored; zero: no bound
}

// addTo gives a command the flags of a filter.
func (f *eventFilter) addTo(cmd *cobra.Command) {
	f.addSubjectTo(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.account, "account", "", "only those of this account at the provider")
	flags.StringVar(&f.verified, "verified", "", "only those verified so: body+time, body, origin, none")
	flags.StringVar(&f.since, "since", "", "only those that came since, such as 1h or 2026-02-01T09:00:00Z")
	flags.StringVar(&f.until, "until", "", "only those that came before, written alike")
}

// addSubjectTo gives it those that the bus itself filters by.
func (f *eventFilter) addSubjectTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "only this user's events")
	flags.StringVar(&f.provider, "provider", "", "only this provider's events")
	flags.StringVar(&f.event, "event", "", "only events of this name, such as issues.opened, issues.* or issues.>")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
}

// addDeadTo gives it the flag for what could not be read.
func (f *eventFilter) addDeadTo(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.dead, "dead", false, "deliveries that were genuine and could not be read, instead of events")
}

// check reads the times as of now.
func (f *eventFilter) check(now time.Time) (err error) {
	if f.from, err = timeFlag("--since", f.since, now); err != nil {
		return err
	}
	if f.to, err = timeFlag("--until", f.until, now); err != nil {
		return err
	}
	if !f.to.IsZero() && !f.from.Before(f.to) {
		return usage("", "--since %s is not before --until %s", f.since, f.until)
	}
	levels := []string{"", string(events.VerifiedBodyTime), string(events.VerifiedBody), string(events.VerifiedOrigin), string(events.VerifiedNone)}
	if !slices.Contains(levels, f.verified) {
		return usage("", "--verified %s: must be one of %s", f.verified, strings.Join(levels[1:], ", "))
	}
	if checkPattern(f.subject()) != nil {
		return usage("such as issues.opened, issues.* or issues.>", "--event %q: is no pattern", f.event)
	}
	return nil
}

// listCommand lists what is looked for, whichever of it.
func (f *eventFilter) listCommand() string {
	if f.dead {
		return "plugfn event list --dead"
	}
	return "plugfn event list"
}

// timeFlag reads a time, or how long ago it was.
func timeFlag(name, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usage("", "%s %q: want how long ago, such as 1h, or a time such as 2026-02-01T09:00:00Z", name, text)
	}
	return at, nil
}

// subject is what the bus filters by.
func (f *eventFilter) subject() string {
	token := func(s string) string {
		if s == "" {
			return "*"
		}
		return events.Token(s)
	}
	if f.keptAs != "" {
		return f.keptAs
	}
	prefix := events.PrefixEvent
	if f.dead {
		prefix = events.PrefixDead + "event."
	}
	return prefix + token(f.user) + "." + token(f.provider) + "." + firstOf(f.event, ">")
}

func (f *eventFilter) stream() string {
	if f.keptIn != "" {
		return f.keptIn
	}
	if f.dead {
		return events.StreamDead
	}
	return events.StreamEvents
}

// fits tells what the subject does not.
func (f *eventFilter) fits(e *storedEvent) bool {
	return (f.account == "" || e.Account == f.account) &&
		(f.verified == "" || string(e.Verified) == f.verified) &&
		(len(f.ids) == 0 || slices.Contains(f.ids, e.ID)) &&
		(f.also == nil || f.also(e)) &&
		!e.stored.Before(f.from) && (f.to.IsZero() || e.stored.Before(f.to))
}

// storedEvent is one message of the stream.
type storedEvent struct {
	events.Event
	subject  string
	sequence uint64
	stored   time.Time
	bytes    int
	header   nats.Header
	missing  error // why its data is not here, where it is too long for a message
}

// eventStore reads the events that are kept. It holds one message at a time and
// those that the client has asked for ahead.
type eventStore struct {
	filter *eventFilter
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	state  jetstream.StreamState // as it was when the store was opened
}

// readAhead is how many messages without their bodies are asked for at once.
const readAhead = 500

func openEvents(ctx context.Context, conn *nats.Conn, filter *eventFilter) (*eventStore, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, filter.stream())
	if err != nil {
		return nil, &failure{exit: exitUnreachable, what: "the stream " + filter.stream() + " cannot be read", cause: err, fix: startFix}
	}
	return &eventStore{filter: filter, conn: conn, js: js, stream: stream, state: stream.CachedInfo().State}, nil
}

// scan calls each with the events that fit, without their bodies, in the order
// of the stream, from one sequence to before another. It ends early on an error.
func (s *eventStore) scan(ctx context.Context, from, before uint64, each func(*storedEvent) error) error {
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.filter.subject()}, HeadersOnly: true,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
	}
	if from <= s.state.FirstSeq && !s.filter.from.IsZero() {
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &s.filter.from
	}
	consumer, err := s.js.OrderedConsumer(ctx, s.filter.stream(), config)
	if err != nil {
		return &failure{exit: exitUnreachable, what: "the stream " + s.filter.stream() + " cannot be read", cause: err}
	}
	if info := consumer.CachedInfo(); info == nil || info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		msg, err := messages.Next()
		if err != nil {
			return errors.Join(ctx.Err(), ifNot(err, jetstream.ErrMsgIteratorClosed))
		}
		about, err := msg.Metadata()
		if err != nil {
			return err
		}
		if about.Sequence.Stream >= before {
			return nil
		}
		if e := storedOf(msg.Subject(), msg.Headers(), about.Sequence.Stream, about.Timestamp); s.filter.fits(e) {
			if err := each(e); err != nil {
				return err
			}
		}
		if about.NumPending == 0 || about.Sequence.Stream+1 >= before {
			return nil
		}
	}
}

// ifNot is err, unless it is known.
func ifNot(err, known error) error {
	if errors.Is(err, known) {
		return nil
	}
	return err
}

// storedOf reads a message. One that is no event has its subject only.
func storedOf(subject string, header nats.Header, sequence uint64, stored time.Time) *storedEvent {
	e, err := events.ParseEvent(header, nil)
	if err != nil {
		e = events.Event{Type: "(" + err.Error() + ")"}
	}
	size, _ := strconv.Atoi(header.Get(nats.MsgSize)) // 0 for a whole message, see whole
	if e.DataRef != (events.PayloadRef{}) {
		size = int(e.DataRef.Size)
	}
	return &storedEvent{Event: e, subject: subject, sequence: sequence, stored: stored, bytes: size, header: header}
}

// newest returns up to limit events that fit, stored before a sequence, the
// newest first, and whether there may be more. It reads backwards, in windows that
// grow, so that the cost is that of what is looked for.
func (s *eventStore) newest(ctx context.Context, before uint64, limit int) (all []*storedEvent, more bool, err error) {
	window := uint64(max(1000, 4*limit))
	for before > s.state.FirstSeq {
		from := s.state.FirstSeq
		if before-from > window {
			from = before - window
		}
		var found []*storedEvent
		err := s.scan(ctx, from, before, func(e *storedEvent) error {
			if found = append(found, e); len(found) > limit+1 {
				found = found[1:]
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
		slices.Reverse(found)
		if all = append(all, found...); len(all) > limit {
			return all[:limit], true, nil
		}
		if before, window = from, 4*window; s.isBefore(ctx, from) {
			break
		}
	}
	return all, false, nil
}

// isBefore tells whether nothing that was stored before a sequence can fit.
func (s *eventStore) isBefore(ctx context.Context, sequence uint64) bool {
	if s.filter.from.IsZero() || sequence <= s.state.FirstSeq {
		return false
	}
	msg, err := s.stream.GetMsg(ctx, sequence)
	return err == nil && msg.Time.Before(s.filter.from)
}

// last is one more than the last sequence there was when the store was opened.
func (s *eventStore) last() uint64 { return s.state.LastSeq + 1 }

// whole reads an event with its body, also where that is kept beside it.
func (s *eventStore) whole(ctx context.Context, sequence uint64) (*storedEvent, error) {
	msg, err := s.stream.GetMsg(ctx, sequence)
	if err != nil {
		return nil, fmt.Errorf("reading event %d of the stream: %w", sequence, err)
	}
	e := storedOf(msg.Subject, msg.Header, msg.Sequence, msg.Time)
	whole, err := events.ParseEvent(msg.Header, msg.Data)
	if err != nil {
		e.Data, e.bytes = msg.Data, len(msg.Data)
		return e, nil //nolint:nilerr // it is shown as it is
	}
	e.missing = fetchPayload(ctx, s.conn, &whole)
	e.Event = whole
	if e.missing == nil {
		e.bytes = len(whole.Data)
	}
	return e, nil
}
