package ingress

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	// headerDelivery holds, in a dead letter, what the delivery had beside its
	// body, without secrets: a deadDelivery as JSON.
	headerDelivery = "Plugfn-Delivery"
	// maxDelivery is the longest one in bytes. What is longer is not kept, and
	// cannot be replayed.
	maxDelivery = 16 << 10

	typeUnparsed = "dev.plugfn.delivery.unparsed"
)

// deadDelivery is a delivery without its body and without secrets.
type deadDelivery struct {
	Method string      `json:"method"`
	Query  string      `json:"query,omitempty"`
	Header http.Header `json:"header"`
}

// keep stores a genuine delivery that cannot be read, for a person to look at,
// and with what it takes to read it again with another pack.
func (s *Service) keep(ctx context.Context, rt *route, d *providers.Delivery, verdict providers.Verdict, cause error) answer {
	kept := encodeDelivery(rt.pack.Webhooks.Reduced(d))
	id := deadID(kept, d.Body)
	e := events.Event{
		ID: id, Source: eventSource(rt.pack.Name, rt.source(), rt.endpoint.ConnectionID),
		Type: typeUnparsed, Time: d.ReceivedAt, Provider: rt.pack.Name, Verified: verdict.Level,
		UserID: rt.endpoint.UserID, ConnectionID: rt.endpoint.ConnectionID,
		DataContentType: d.Header.Get("Content-Type"), Data: d.Body,
	}
	dead := e.Msg(events.DeadSubject("event", rt.endpoint.UserID, rt.pack.Name, "unparsed"))
	dead.Header.Set(events.HeaderReason, cause.Error())
	if isKept(kept) {
		dead.Header.Set(headerDelivery, kept)
	}
	dead.Header.Set(jetstream.MsgIDHeader, dedupeID(rt.pack.Name, rt.source(), id, rt.endpoint.ConnectionID))
	if err := s.store(ctx, answerBy(rt), "", dead); err != nil {
		rt.log(s.Log.Error()).Err(err).Msg("unreadable delivery not stored")
		return refuse(http.StatusServiceUnavailable, "bus does not store")
	}
	rt.log(s.Log.Warn()).Int("bytes", len(d.Body)).Msg("unreadable delivery kept as dead letter")
	return answer{status: http.StatusOK, event: kindUnparsed, kind: kindUnparsed, published: 1}
}

// deadID tells dead letters apart. There is no id of the delivery, since it could
// not be read; but what bears one is among what is kept of it beside the body.
func deadID(kept string, body []byte) string {
	h := sha256.New()
	_, _ = h.Write(append([]byte(kept), 0)) // JSON: it has no such byte itself
	_, _ = h.Write(body)
	return "sha256-" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// isKept tells whether what would be kept of a delivery beside its body is.
func isKept(text string) bool { return text != "" && len(text) <= maxDelivery }

// encodeDelivery is what is kept of a delivery beside its body; "" where it
// cannot be told.
func encodeDelivery(d *providers.Delivery) string {
	kept := deadDelivery{Method: d.Method, Header: d.Header}
	if d.URL != nil {
		kept.Query = d.URL.RawQuery
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return ""
	}
	return string(text)
}

// DeadDelivery is a dead letter of a delivery, which may make events by now.
type DeadDelivery struct {
	letter   events.Event
	delivery *providers.Delivery
	stored   time.Time
}

// ErrNotReplayable says that a dead letter has no delivery that can be read again.
var ErrNotReplayable = errors.New("it does not say which headers it had: it was kept by an older version, or had too many")

// ParseDeadDelivery reads a message of the subjects plugfn.dead.event.>, which was
// stored at a time. The error is ErrNotReplayable for one that cannot be read
// again. Its data may have to be fetched, see [events.Payloads.Resolve].
func ParseDeadDelivery(header nats.Header, data []byte, stored time.Time) (*DeadDelivery, error) {
	e, err := events.ParseEvent(header, data)
	if err != nil {
		return nil, fmt.Errorf("reading a dead letter: %w", err)
	}
	var kept deadDelivery
	text := events.HeaderValue(header, headerDelivery)
	if e.Type != typeUnparsed || text == "" || json.Unmarshal([]byte(text), &kept) != nil || kept.Header == nil {
		return nil, ErrNotReplayable
	}
	return &DeadDelivery{letter: e, stored: stored, delivery: &providers.Delivery{
		Method: kept.Method, URL: &url.URL{RawQuery: kept.Query}, Header: kept.Header, Body: data, ReceivedAt: e.Time,
	}}, nil
}

// Provider is whose delivery it is.
func (d *DeadDelivery) Provider() string { return d.letter.Provider }

// Endpoint is the id of the endpoint that it came to, "" for the app's.
func (d *DeadDelivery) Endpoint() string {
	if e := d.endpoint(); e != appEndpoint {
		return e
	}
	return ""
}

func (d *DeadDelivery) endpoint() string { return endpointOf(d.letter.Source) }

// Revived is what came of a dead delivery.
type Revived struct {
	Published int      `json:"published"` // events; with a dry run: that would be
	Known     int      `json:"known"`     // that had been published before
	Events    []string `json:"events"`    // their names
}

// Revive reads a dead delivery again, with the webhooks block of its endpoint as
// it is today, and publishes its events as they would have been: with the ids of
// the provider, to those who own them now. What was published before is left out.
// An error that wraps [providers.ErrUnparsable] says that it still makes none.
func (r *Rerouter) Revive(ctx context.Context, w *providers.Webhooks, dead *DeadDelivery, dryRun bool) (out Revived, err error) {
	payloads := events.Payloads{Conn: r.js.Conn()}
	if err := payloads.Resolve(ctx, &dead.letter, maxBody); err != nil {
		return out, err
	}
	dead.delivery.Body = dead.letter.Data
	reading, err := w.Read(dead.delivery)
	if err != nil {
		return out, err
	}
	found, err := reading.Events()
	if err != nil {
		return out, err
	}
	known := map[owner]map[string]bool{}
	for _, n := range found {
		out.Events = append(out.Events, n.Name)
		for _, o := range r.ownersOf(dead, n.Account) {
			if known[o] == nil {
				if known[o], err = r.known(ctx, dead.Provider(), dead.endpoint(), o, dead.stored); err != nil {
					return out, err
				}
			}
			has := known[o][n.ID]
			if !has && !dryRun {
				if has, err = r.revive(ctx, dead, addressed{&n, o}); err != nil {
					return out, fmt.Errorf("publishing %s: %w", n.ID, err)
				}
			}
			known[o][n.ID] = true
			if has {
				out.Known++
			} else {
				out.Published++
			}
		}
	}
	return out, nil
}

// ownersOf lists whose event it is: at the endpoint of a connection its own.
func (r *Rerouter) ownersOf(dead *DeadDelivery, account string) []owner {
	if dead.Endpoint() != "" {
		return []owner{{user: dead.letter.UserID, connection: dead.letter.ConnectionID}}
	}
	if all := r.index.owners(dead.Provider(), account); len(all) > 0 {
		return all
	}
	return []owner{{}}
}

// revive publishes one event for one owner. It reports whether he had it.
func (r *Rerouter) revive(ctx context.Context, dead *DeadDelivery, n addressed) (has bool, err error) {
	msg := messageOf(dead.Provider(), dead.endpoint(), dead.letter.Time, dead.letter.Verified, n)
	if msg, err = (events.Payloads{Conn: r.js.Conn()}).Offload(ctx, msg); err != nil {
		return false, err
	}
	ack, err := r.events.Publish(ctx, msg)
	return ack.Duplicate, err
}
