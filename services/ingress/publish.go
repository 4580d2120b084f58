package ingress

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// appEndpoint stands for the provider's one app-level endpoint.
const appEndpoint = "_"

// publish stores each event of the delivery once per connection of its account,
// or once for nobody. A delivery without events is a ping.
func (s *Service) publish(ctx context.Context, rt *route, d *providers.Delivery, verdict providers.Verdict, found []providers.Normalized) answer {
	if len(found) == 0 {
		return answer{status: http.StatusOK, event: kindPing, kind: kindPing}
	}
	if rt.isApp && !s.index.loaded.Load() {
		return s.keepUnaddressed(ctx, rt, d, verdict, found)
	}
	all := make([]addressed, 0, len(found))
	for i := range found {
		all = s.address(all, rt, &found[i])
	}
	if err := s.storeAll(ctx, rt, d, verdict, all); err != nil {
		rt.log(s.Log.Error()).Ctx(ctx).Err(err).Str("delivery", found[0].ID).Int("events", len(all)).Msg("event not stored")
		return refuse(http.StatusServiceUnavailable, "bus does not store")
	}
	s.notice(rt, all)
	return answer{status: http.StatusOK, delivery: found[0].ID, event: found[0].Name, published: len(all)}
}

// addressed is an event for one owner.
type addressed struct {
	*providers.Normalized
	to owner
}

// address adds an event for each of those whose it is, or once for nobody. At the
// endpoint of a connection that is settled by the endpoint: neither the body nor a
// header, which a signature may not cover, has a say.
func (s *Service) address(all []addressed, rt *route, n *providers.Normalized) []addressed {
	if !rt.isApp {
		return append(all, addressed{n, owner{user: rt.endpoint.UserID, connection: rt.endpoint.ConnectionID}})
	}
	owners := s.index.owners(rt.pack.Name, n.Account)
	if len(owners) == 0 {
		return append(all, addressed{n, owner{}})
	}
	for _, o := range owners {
		all = append(all, addressed{n, o})
	}
	return all
}

// storeAll returns once all are stored, or one is not.
func (s *Service) storeAll(ctx context.Context, rt *route, d *providers.Delivery, verdict providers.Verdict, events []addressed) error {
	until := answerBy(rt)
	store := func(ctx context.Context, e addressed) error {
		return s.store(ctx, until, order(rt, e.Normalized), eventMsg(ctx, rt, d, verdict, e))
	}
	if len(events) == 1 { // nearly always: nobody needs to wait for another
		return store(ctx, events[0])
	}
	var all errgroup.Group
	all.SetLimit(maxAtOnce)
	for _, e := range events {
		all.Go(func() error {
			// What many events lead to is too much for one trace.
			ctx, span := s.Tracer.Beside(ctx, tracing.Sends, "event", rt.pack.Name)
			defer span.End()
			return store(ctx, e)
		})
	}
	return all.Wait()
}

// order is the key of events that stay in order; empty: no order.
func order(rt *route, n *providers.Normalized) string {
	if n.PartitionKey == "" {
		return ""
	}
	return rt.pack.Name + " " + n.PartitionKey
}

// maxAtOnce is how many events of one delivery are being stored at once.
const maxAtOnce = 32

// eventSource is the ce-source of the events that a connection gets from an
// endpoint.
func eventSource(provider, endpoint, connection string) string {
	return "/plugfn/" + provider + "/" + endpoint + "/" + events.Token(connection)
}

// endpointOf is the endpoint in a ce-source.
func endpointOf(source string) string {
	const place = 3 // /plugfn/<provider>/<endpoint>/…
	if parts := strings.SplitN(source, "/", place+2); len(parts) > place {
		return parts[place]
	}
	return appEndpoint
}

func eventMsg(ctx context.Context, rt *route, d *providers.Delivery, verdict providers.Verdict, n addressed) *nats.Msg {
	msg := messageOf(rt.pack.Name, rt.source(), d.ReceivedAt, verdict.Level, n)
	if parent := tracing.Parent(ctx); parent != "" {
		msg.Header.Set(events.AttributeTraceParent, parent)
	}
	return msg
}

// messageOf is the message of an event that came to an endpoint at a time.
func messageOf(provider, endpoint string, at time.Time, level events.Verified, n addressed) *nats.Msg {
	o := n.to
	e := events.Event{
		ID:              n.ID,
		Source:          eventSource(provider, endpoint, o.connection),
		Type:            n.Type,
		Subject:         n.Subject,
		Time:            n.Time,
		DataContentType: n.ContentType,
		UserID:          o.user,
		ConnectionID:    o.connection,
		Provider:        provider,
		EventName:       n.Name,
		Verified:        level,
		Account:         n.Account,
		PartitionKey:    n.PartitionKey,
		CausationID:     n.Cause,
		Extensions:      n.Headers,
		Data:            n.Data,
	}
	if e.Time.IsZero() {
		e.Time = at
	}
	msg := e.Msg(events.EventSubject(o.user, provider, n.Name))
	msg.Header.Set(jetstream.MsgIDHeader, dedupeID(provider, endpoint, n.ID, o.connection))
	return msg
}

// dedupeID is the Nats-Msg-Id of a delivery for one connection. Deduplication
// is stream-wide, so the id holds everything that tells deliveries apart.
func dedupeID(provider, endpoint, delivery, connection string) string {
	room := make([]byte, 0, 512)
	for _, part := range [...]string{provider, endpoint, delivery, connection} {
		room = strconv.AppendInt(room, int64(len(part)), 10)
		room = append(room, ':')
		room = append(room, part...)
	}
	sum := sha256.Sum256(room)
	return string(base64.RawURLEncoding.AppendEncode(append(room[:0], "i1:"...), sum[:16]))
}
