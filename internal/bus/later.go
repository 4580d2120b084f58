package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// The kinds of parked messages. Each has one prefix that its targets must
// have, see [Later.Target].
const (
	KindAction = "action" // an action request, to plugfn.action.<user>.…
	KindRun    = "run"    // a workflow run, to plugfn.run.<user>.…
	// KindConnection is a job of the auth service for a connection, to
	// plugfn.connection.<user>.…
	KindConnection = "connection"
	// KindSchedule is a schedule that wakes: the scheduler works on that itself,
	// see [WakeTarget].
	KindSchedule = "schedule"
)

// HeaderTarget holds the real target of a parked message.
const HeaderTarget = "Plugfn-Target"

// headerNonce makes the ids of firings such that nobody can guess them. A
// stream drops the second message with an id whoever sends it, so that an
// application could have the firings of others dropped.
const headerNonce = "Plugfn-Nonce"

// ErrFull is what Park returns when the parked messages have reached
// Config.MaxBytes. It goes away as they fire.
var ErrFull = errors.New("too many messages are parked")

const (
	firingTTL = 7 * day // how long a firing waits for the mover: as long as an action request is kept
	maxAhead  = 10 * 365 * day
	minEvery  = time.Second

	natsHeaders = "Nats-" // headers that mean something to the server
)

// Later is a message that the server holds back and hands out when it is due:
// once at a time, or again and again. Exactly one of At, Every and Cron is set.
type Later struct {
	Kind string // KindAction, KindRun, KindConnection or KindSchedule
	User string // as the application calls him, not escaped
	// ID is unique among the user's parked messages of this kind: parking
	// again under the same one replaces what was parked.
	ID string

	At    time.Time     // a time gone by: at once; at most ten years ahead
	Every time.Duration // at least a second, counted from now, in whole seconds
	Cron  string        // six fields, seconds first, or @hourly and the like
	Zone  string        // of Cron, such as Europe/Berlin; empty: UTC

	// Target is the subject that the message is for in the end. It starts with
	// the prefix of its kind and the user's own token.
	Target string
	// Header travels along, but for headers whose name starts with Nats-.
	Header nats.Header
	Data   []byte
}

// Park stores l. When it returns nil the message is as safe as any other that
// was acknowledged, and fires even if every process but the server is gone.
//
// A firing is delivered on [events.DueSubject] and is never early. How late it
// is depends on the server: next to nothing alone, a quarter of a second under
// load; what fell due while the server was down fires when it is back, and a
// repeated one fires once for all the times it missed.
func (b *Bus) Park(ctx context.Context, l Later) error {
	if err := b.park(ctx, l); err != nil {
		return fmt.Errorf("parking %s %q: %w", l.Kind, l.ID, err)
	}
	return nil
}

func (b *Bus) park(ctx context.Context, l Later) error {
	msg, err := l.msg(time.Now())
	if err != nil {
		return err
	}
	fits, err := b.later.take(ctx, b.js, b.cfg.MaxBytes, int64(msg.Size()))
	if err != nil {
		return err
	}
	if !fits {
		return ErrFull
	}
	_, err = b.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamLater))
	return err
}

// Unpark cancels what was parked. What was never parked, or has fired, is no
// error: a firing under way is not called back.
func (b *Bus) Unpark(ctx context.Context, kind, user, id string) error {
	stream, err := b.js.Stream(ctx, events.StreamLater)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(events.LaterSubject(kind, user, id)))
	}
	if err != nil {
		return fmt.Errorf("unparking %s %q: %w", kind, id, err)
	}
	return nil
}

// msg is the schedule of l.
func (l *Later) msg(now time.Time) (*nats.Msg, error) {
	pattern, err := l.pattern(now)
	if err != nil {
		return nil, err
	}
	if l.ID == "" {
		return nil, errors.New("field ID is empty")
	}
	if err := checkTarget(l.Kind, events.Token(l.User), l.Target); err != nil {
		return nil, fmt.Errorf("field Target %w", err)
	}
	msg := nats.NewMsg(events.LaterSubject(l.Kind, l.User, l.ID))
	msg.Header = travelling(l.Header)
	msg.Data = l.Data
	msg.Header.Set(HeaderTarget, l.Target)
	msg.Header.Set(headerNonce, rand.Text())
	msg.Header.Set(jetstream.ScheduleHeader, pattern)
	msg.Header.Set(jetstream.ScheduleTargetHeader, events.DueSubject(l.Kind, l.User))
	msg.Header.Set(jetstream.ScheduleTTLHeader, firingTTL.String())
	msg.Header.Set(jetstream.MsgTTLHeader, "never") // not even if an operator gives the stream an age
	if l.Zone != "" {
		msg.Header.Set(jetstream.ScheduleTimeZoneHeader, l.Zone)
	}
	return msg, nil
}

// pattern is when l fires, in the server's words. The client library cuts
// times to whole seconds and so fires early; we do not.
func (l *Later) pattern(now time.Time) (string, error) {
	switch {
	case l.Cron == "" && l.Zone != "":
		return "", errors.New("field Zone is for Cron: At is a point in time, Every a distance")
	case !l.At.IsZero() && l.Every == 0 && l.Cron == "":
		if l.At.After(now.Add(maxAhead)) {
			return "", fmt.Errorf("field At %s is more than ten years ahead", l.At.UTC().Format(time.RFC3339))
		}
		return "@at " + l.At.UTC().Format(time.RFC3339Nano), nil
	case l.Every != 0 && l.At.IsZero() && l.Cron == "":
		if l.Every < minEvery || l.Every > maxAhead {
			return "", fmt.Errorf("field Every %s: must be from one second to ten years", l.Every)
		}
		return "@every " + l.Every.String(), nil
	case l.Cron != "" && l.At.IsZero() && l.Every == 0:
		if strings.HasPrefix(l.Cron, "@at") || strings.HasPrefix(l.Cron, "@every") {
			return "", fmt.Errorf("field Cron %q: use At or Every", l.Cron)
		}
		return l.Cron, nil
	default:
		return "", errors.New("set one of At, Every and Cron")
	}
}

// travelling is a copy of h without what means something to the server or to
// the mover.
func travelling(h nats.Header) nats.Header {
	kept := make(nats.Header, len(h)+6)
	for name, values := range h {
		own := strings.EqualFold(name, HeaderTarget) || strings.EqualFold(name, headerNonce)
		nats := len(name) >= len(natsHeaders) && strings.EqualFold(name[:len(natsHeaders)], natsHeaders)
		if !own && !nats {
			kept[name] = append([]string(nil), values...)
		}
	}
	return kept
}

// gauge counts down the room in the stream of parked messages, so that a
// burst of parking does not ask the server each time. Other processes park as
// well, therefore it forgets what it knew after a second.
type gauge struct {
	mu    sync.Mutex
	until time.Time
	left  int64 // bytes
}

// take reports whether size bytes fit below maxBytes, and counts them.
func (g *gauge) take(ctx context.Context, js jetstream.JetStream, maxBytes, size int64) (bool, error) {
	if g.takeKnown(size) {
		return true, nil
	}
	stream, err := js.Stream(ctx, events.StreamLater) // not under the lock: others have their own ctx
	if err != nil {
		return false, err
	}
	g.look(maxBytes - int64(stream.CachedInfo().State.Bytes))
	return g.takeKnown(size), nil
}

func (g *gauge) takeKnown(size int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left < size || time.Now().After(g.until) {
		return false
	}
	g.left -= size
	return true
}

func (g *gauge) look(left int64) {
	const memory = time.Second
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.until = left, time.Now().Add(memory)
}
