package ingress

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/commit"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// maxUnclaimed is how many events for nobody are looked at, the latest ones.
	maxUnclaimed = 10_000
	// maxKnown is how many events of one user are looked through for those that
	// he has already.
	maxKnown = 50_000

	// rerouteConsumer is the name of the one consumer that a role may have here.
	rerouteConsumer = "reroute"
	turnTimeout     = 30 * time.Second
	fetchTimeout    = 5 * time.Second
	turnPause       = 50 * time.Millisecond
	abandonedAfter  = 10 * time.Second // the consumer of a process that went away
)

// Rerouting says which events are given to connections that there were not when
// the events came.
type Rerouting struct {
	Provider string
	Accounts []string      // nil: all
	Since    time.Duration // how far it looks back
	DryRun   bool          // only count
}

// Rerouted is what came of a Rerouting.
type Rerouted struct {
	Unclaimed uint64 `json:"unclaimed"` // events for nobody that were looked at
	Older     uint64 `json:"older"`     // that were not, because there are too many
	Known     int    `json:"known"`     // of the rest, what its connections have already
	Published int    `json:"published"` // events for a connection; with DryRun: that would be
}

// Rerouter gives events that came for nobody to the connections of their
// account. Several may do so at once.
type Rerouter struct {
	js     jetstream.JetStream
	index  *index
	events *commit.Store
	now    func() time.Time
	// stored, if set, hears where an event is that was published.
	stored func(provider, id string, sequence uint64)
}

// NewRerouter makes a Rerouter that knows the connections that there are now.
func NewRerouter(ctx context.Context, js jetstream.JetStream) (*Rerouter, error) {
	kv, err := js.KeyValue(ctx, events.BucketConnections)
	if err != nil {
		return nil, fmt.Errorf("opening the connections: %w", err)
	}
	x := newIndex()
	following, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- x.follow(following, kv) }()
	select {
	case <-x.whole:
		stop()
		err = <-ended
	case err = <-ended:
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("reading the connections: %w", err)
	}
	return newRerouter(js, x, time.Now)
}

func newRerouter(js jetstream.JetStream, x *index, now func() time.Time) (*Rerouter, error) {
	store, err := commit.New(commit.Config{JetStream: js})
	if err != nil {
		return nil, err
	}
	return &Rerouter{js: js, index: x, events: store, now: now}, nil
}

// unclaimed is an event that came for nobody.
type unclaimed struct {
	sequence uint64
	at       time.Time
	id       string
}

// Reroute publishes the events of a provider that came for nobody to the
// connections that their accounts have now: with the same ce-id, and with the
// Nats-Msg-Id that they would have had. What a connection has already is left
// out. So it may be repeated at any time, and a repetition changes nothing.
func (r *Rerouter) Reroute(ctx context.Context, in Rerouting) (Rerouted, error) {
	var out Rerouted
	claims, err := r.claims(ctx, in, &out)
	if err != nil {
		return out, fmt.Errorf("reading the events for nobody: %w", err)
	}
	for o, theirs := range claims {
		if err := r.give(ctx, in, o, theirs, &out); err != nil {
			return out, fmt.Errorf("giving events to connection %s: %w", o.connection, err)
		}
	}
	return out, nil
}

// claims finds the events for nobody whose account has connections now.
func (r *Rerouter) claims(ctx context.Context, in Rerouting, out *Rerouted) (map[owner][]unclaimed, error) {
	found, wanted := map[owner][]unclaimed{}, map[string]bool{}
	for _, id := range in.Accounts {
		wanted[id] = true
	}
	source := eventSource(in.Provider, appEndpoint, "")
	subject := events.PrefixEvent + events.NoUser + "." + events.Token(in.Provider) + ".>"
	read, older, err := r.read(ctx, subject, r.now().Add(-in.Since), maxUnclaimed, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) {
		e, err := events.ParseEvent(msg.Headers(), nil)
		if err != nil || e.Source != source || in.Accounts != nil && !wanted[e.Account] {
			return
		}
		for _, o := range r.index.owners(in.Provider, e.Account) {
			found[o] = append(found[o], unclaimed{meta.Sequence.Stream, meta.Timestamp, e.ID})
		}
	})
	out.Unclaimed, out.Older = read, older
	return found, err
}

// give publishes events to one connection, in the order in which they came.
func (r *Rerouter) give(ctx context.Context, in Rerouting, o owner, theirs []unclaimed, out *Rerouted) error {
	known, err := r.known(ctx, in.Provider, appEndpoint, o, theirs[0].at)
	if err != nil {
		return err
	}
	stream, err := r.js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return fmt.Errorf("opening the events: %w", err)
	}
	for _, u := range theirs {
		has := known[u.id]
		if !has && !in.DryRun {
			if has, err = r.publish(ctx, stream, in.Provider, o, u.sequence); err != nil {
				return err
			}
		}
		known[u.id] = true
		if has {
			out.Known++
		} else {
			out.Published++
		}
	}
	return nil
}

// known are the ids of the events that a connection has of an endpoint, from a
// time on. The bus drops repetitions too, but does not remember them as long.
func (r *Rerouter) known(ctx context.Context, provider, endpoint string, o owner, from time.Time) (map[string]bool, error) {
	ids := map[string]bool{}
	source := eventSource(provider, endpoint, o.connection)
	subject := events.PrefixEvent + events.Token(o.user) + "." + events.Token(provider) + ".>"
	_, older, err := r.read(ctx, subject, from, maxKnown, func(msg jetstream.Msg, _ *jetstream.MsgMetadata) {
		if e, err := events.ParseEvent(msg.Headers(), nil); err == nil && e.Source == source {
			ids[e.ID] = true
		}
	})
	if err == nil && older > 0 {
		err = fmt.Errorf("its user has more than %d events since %s: look back less far", maxKnown, from.Format(time.RFC3339))
	}
	return ids, err
}

// publish gives one event to a connection. It reports whether that had it.
func (r *Rerouter) publish(ctx context.Context, stream jetstream.Stream, provider string, o owner, sequence uint64) (has bool, err error) {
	stored, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil // its time was over meanwhile
	}
	if err != nil {
		return false, fmt.Errorf("reading event %d: %w", sequence, err)
	}
	e, err := events.ParseEvent(stored.Header, stored.Data)
	if err != nil {
		return false, fmt.Errorf("reading event %d: %w", sequence, err)
	}
	payloads := events.Payloads{Conn: r.js.Conn()}
	// What is stored for nobody is not readable for the user: he gets his own.
	switch err := payloads.Resolve(ctx, &e, maxBody); {
	case errors.Is(err, events.ErrPayloadGone):
		return true, nil // its time was over meanwhile
	case err != nil:
		return false, err
	}
	msg := given(&e, stored.Subject, stored.Header, o)
	if msg, err = payloads.Offload(ctx, msg); err != nil {
		return false, fmt.Errorf("publishing: %w", err)
	}
	ack, err := r.events.Publish(ctx, msg)
	if err != nil {
		return false, fmt.Errorf("publishing: %w", err)
	}
	if r.stored != nil {
		r.stored(provider, msg.Header.Get(jetstream.MsgIDHeader), ack.Sequence)
	}
	return ack.Duplicate, nil
}

// given is an event of the app's endpoint that was for nobody, for a
// connection: at its subject, and with the Nats-Msg-Id that it would have had.
func given(e *events.Event, subject string, header nats.Header, o owner) *nats.Msg {
	e.UserID, e.ConnectionID, e.Source = o.user, o.connection, eventSource(e.Provider, appEndpoint, o.connection)
	msg := e.Msg(events.PrefixEvent + events.Token(o.user) + strings.TrimPrefix(subject, events.PrefixEvent+events.NoUser))
	keepHeader(msg.Header, header)
	msg.Header.Set(jetstream.MsgIDHeader, dedupeID(e.Provider, appEndpoint, e.ID, o.connection))
	return msg
}

// keepHeader copies what a stored message has beside the event's attributes and
// what belongs to the bus.
func keepHeader(to, stored nats.Header) {
	for name, values := range stored {
		if lower := strings.ToLower(name); !strings.HasPrefix(lower, "ce-") && !strings.HasPrefix(lower, "nats-") {
			to[name] = values
		}
	}
}

// read visits the heads of the messages on subject that were stored from a time
// on, at most limit and then the latest. older is how many it left out.
func (r *Rerouter) read(ctx context.Context, subject string, from time.Time, limit uint64, visit func(jetstream.Msg, *jetstream.MsgMetadata)) (read, older uint64, err error) {
	c, pending, err := r.consumer(ctx, subject, from)
	for all := pending; err == nil && pending > limit; older = all - pending {
		r.drop(ctx, c)
		from = from.Add(r.now().Sub(from) / 2) // half as far back
		c, pending, err = r.consumer(ctx, subject, from)
	}
	if err != nil {
		return 0, 0, err
	}
	defer r.drop(ctx, c)
	for read < pending {
		n, err := fetch(ctx, c, int(min(pending-read, 500)), visit)
		read += uint64(n)
		if err != nil {
			return read, older, fmt.Errorf("reading %s: %w", subject, err)
		}
		if n == 0 {
			break // the rest is gone: its time was over
		}
	}
	return read, older, nil
}

// fetch visits the next messages of a consumer, at most limit.
func fetch(ctx context.Context, c jetstream.Consumer, limit int, visit func(jetstream.Msg, *jetstream.MsgMetadata)) (n int, err error) {
	batch, err := c.Fetch(limit, jetstream.FetchMaxWait(fetchTimeout))
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() { // to its end, whatever happens: or its sender would wait for ever
		meta, e := msg.Metadata()
		if err = errors.Join(err, e); e == nil {
			visit(msg, meta)
			n++
		}
	}
	return n, errors.Join(err, batch.Error(), ctx.Err())
}

// consumer reads the heads of a subject from a time on. It also returns how many
// there are. There is one at a time on the bus: while another ingress looks, this
// one waits, and then finds less to do.
func (r *Rerouter) consumer(ctx context.Context, subject string, from time.Time) (jetstream.Consumer, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	for {
		c, err := r.js.CreateConsumer(ctx, events.StreamEvents, jetstream.ConsumerConfig{
			Name: rerouteConsumer, Description: rand.Text(), // which makes it nobody else's
			FilterSubject: subject, HeadersOnly: true, MemoryStorage: true, Replicas: 1,
			DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from,
			AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: abandonedAfter,
		})
		if err == nil {
			return c, c.CachedInfo().NumPending, nil
		}
		if !errors.Is(err, jetstream.ErrConsumerExists) {
			return nil, 0, fmt.Errorf("reading %s: %w", subject, err)
		}
		select {
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("reading %s: another process looks at events for nobody, try again: %w", subject, ctx.Err())
		case <-time.After(turnPause):
		}
	}
}

// drop lets the next one look. Where that fails, the consumer ends by itself.
func (r *Rerouter) drop(ctx context.Context, c jetstream.Consumer) {
	_ = r.js.DeleteConsumer(context.WithoutCancel(ctx), events.StreamEvents, c.CachedInfo().Name)
}
