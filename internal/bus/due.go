package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// Firing is a parked message that has fallen due, ready to be published to its
// target.
type Firing struct {
	Kind   string
	User   string // the user's token, as in subjects
	Target string
	Header nats.Header // what was parked with the message
	// ID is the same for each delivery of one firing and differs between
	// firings: as message id it makes the move to the target happen once.
	ID string
}

// Due reads a message from [events.PrefixDue], given its subject, header and
// sequence in its stream. It believes only what the server wrote: kind and
// user come from the schedule's own subject, and a target beyond them is an
// error. Such a message is nobody's; it is to be kept as a dead letter, not
// published.
func Due(subject string, header nats.Header, sequence uint64) (Firing, error) {
	schedule := header.Get(jetstream.SchedulerHeader)
	rest, ok := strings.CutPrefix(schedule, events.PrefixLater)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 {
		return Firing{}, fmt.Errorf("due message: header %s: %q is not a schedule of PlugFn", jetstream.SchedulerHeader, schedule)
	}
	f := Firing{
		Kind:   parts[0],
		User:   parts[1],
		Target: header.Get(HeaderTarget),
		ID:     schedule + "@" + strconv.FormatUint(sequence, 10) + header.Get(headerNonce),
	}
	if subject != events.PrefixDue+f.Kind+"."+f.User {
		return Firing{}, fmt.Errorf("due message: subject %q is not that of schedule %q", subject, schedule)
	}
	if err := checkTarget(f.Kind, f.User, f.Target); err != nil {
		return Firing{}, fmt.Errorf("due message: header %s: %w", HeaderTarget, err)
	}
	f.Header = travelling(header)
	return f, nil
}

// Moved removes a firing that was published to its target and acknowledged
// there, given its sequence, so that the store holds what is still to be done
// and not the last seven days. A firing that is gone already is no error.
func (b *Bus) Moved(ctx context.Context, sequence uint64) error {
	stream, err := b.laterStream(ctx)
	if err == nil {
		err = deleteIfThere(ctx, stream, sequence)
	}
	if err != nil {
		return fmt.Errorf("removing firing %d: %w", sequence, err)
	}
	return nil
}

// laterStream is the stream of parked messages, looked up once: to ask for it
// each time costs as much as what is done with it.
func (b *Bus) laterStream(ctx context.Context) (jetstream.Stream, error) {
	if known := b.parked.Load(); known != nil {
		return *known, nil
	}
	stream, err := b.js.Stream(ctx, events.StreamLater)
	if err == nil {
		b.parked.Store(&stream)
	}
	return stream, err
}

func deleteIfThere(ctx context.Context, stream jetstream.Stream, sequence uint64) error {
	err := stream.DeleteMsg(ctx, sequence)
	if !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return err
	}
	// The reason is in that error's text only.
	if _, missing := stream.GetMsg(ctx, sequence); errors.Is(missing, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}

// prefixWake begins the targets of KindSchedule. Nothing is published there.
const prefixWake = events.PrefixService + "scheduler.wake."

// WakeTarget is the target of the schedule of a user that wakes.
func WakeTarget(user, id string) string {
	return prefixWake + events.Token(user) + "." + events.Token(id)
}

// targetPrefix is the closed table of what a kind may be parked for.
func targetPrefix(kind string) (prefix string, ok bool) {
	switch kind {
	case KindAction:
		return events.PrefixAction, true
	case KindRun:
		return events.PrefixRun, true
	case KindConnection:
		return events.PrefixConnection, true
	case KindSchedule:
		return prefixWake, true
	default:
		return "", false
	}
}

// checkTarget refuses a target that is not the kind's and the user's own, or
// that the server would not take as a subject.
func checkTarget(kind, user, target string) error {
	prefix, ok := targetPrefix(kind)
	if !ok {
		return fmt.Errorf("%q: kind %q is none of %s, %s, %s and %s", target, kind, KindAction, KindRun, KindConnection, KindSchedule)
	}
	own := prefix + user + "."
	if !strings.HasPrefix(target, own) {
		return fmt.Errorf("%q: must start with %s", target, own)
	}
	if len(target) > events.MaxSubject {
		return fmt.Errorf("is longer than %d bytes", events.MaxSubject)
	}
	for token := range strings.SplitSeq(target, ".") {
		if !isToken(token) {
			return fmt.Errorf("%q: %q is not a token as events.Token makes them", target, token)
		}
	}
	return nil
}

// isToken reports whether token uses only bytes that [events.Token] makes.
func isToken(token string) bool {
	legal := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '='
	}
	for i := range len(token) {
		if !legal(token[i]) {
			return false
		}
	}
	return token != ""
}
