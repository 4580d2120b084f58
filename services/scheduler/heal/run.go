package heal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/scheduler/ask"
)

// maxAsked is how many deliveries one run asks for; the rest is for the next.
const maxAsked = 50

// maxPages is how many pages of a list one run reads.
const maxPages = 20

// Once looks for failed deliveries of a provider now, for each connection that
// may, and asks for them. With dry it only looks, and changes nothing; Asked is
// then how many it would ask for. The records are those of this run; an error of
// one connection is in its record.
func Once(ctx context.Context, js jetstream.JetStream, pack *providers.Pack, dry bool, now func() time.Time) ([]Record, error) {
	if pack.Webhooks == nil || pack.Webhooks.Redeliver == nil {
		return nil, fmt.Errorf("the pack of %s does not say how to ask for deliveries again", pack.Name)
	}
	kv, err := js.KeyValue(ctx, bus.BucketHealing)
	if err != nil {
		return nil, fmt.Errorf("opening what was healed: %w", err)
	}
	connections, err := connectionsOf(ctx, js, pack)
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, c := range connections {
		h := healing{js: js, store: store{kv}, provider: pack.Name, redeliver: pack.Webhooks.Redeliver, connection: c, dry: dry, now: now}
		r, err := h.run(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

// connectionsOf lists the connections that may ask for deliveries.
func connectionsOf(ctx context.Context, js jetstream.JetStream, pack *providers.Pack) ([]events.Connection, error) {
	kv, err := js.KeyValue(ctx, events.BucketConnections)
	if err != nil {
		return nil, fmt.Errorf("opening the connections: %w", err)
	}
	var all []events.Connection
	err = each(ctx, kv, func(value []byte) {
		var c events.Connection
		if json.Unmarshal(value, &c) == nil && c.Provider == pack.Name && c.Auth == pack.Webhooks.Redeliver.Auth && c.Status == events.ConnectionActive {
			all = append(all, c)
		}
	})
	return all, err
}

// healing is one run for one connection.
type healing struct {
	js         jetstream.JetStream
	store      store
	provider   string
	redeliver  *providers.Redeliver
	connection events.Connection
	dry        bool
	now        func() time.Time
}

func (h *healing) run(ctx context.Context) (Record, error) {
	r, revision, err := h.store.read(ctx, h.connection)
	if err != nil {
		return r, err
	}
	l, err := h.list(ctx, r.Settled)
	if err != nil {
		r.RanAt, r.Error = h.now().UTC(), err.Error()
	} else {
		r.Error = ""
		err = h.askAll(ctx, &r, r.settle(h.redeliver, l, h.now()))
		if err != nil {
			r.Error = err.Error()
		}
	}
	if h.dry {
		return r, ctx.Err()
	}
	return r, errors.Join(ctx.Err(), h.store.write(ctx, r, revision))
}

// list reads the attempts since the run before, as far back as they can still be
// sent: most times one page has them all, and else as many as are needed, within
// maxPages and what fits into a result.
func (h *healing) list(ctx context.Context, settled time.Time) (listing, error) {
	l, more, err := h.pages(ctx, 1)
	floor := later(settled, h.now().Add(-h.redeliver.Longest()))
	if err != nil || !more || !l.oldest(h.now()).After(floor) {
		return l, err
	}
	l, _, err = h.pages(ctx, maxPages)
	return l, err
}

// pages reads up to n pages of attempts and tells whether there are more.
func (h *healing) pages(ctx context.Context, n int) (listing, bool, error) {
	r := h.request(h.redeliver.List, h.redeliver.ListParams(), id.New("heal"))
	if n > 1 {
		r.MaxPages = n
	}
	result, err := ask.For(ctx, h.js, r)
	if err != nil {
		return listing{}, false, err
	}
	attempts, err := h.redeliver.Read(result.Data)
	return listing{attempts, result.Pages > 0 && !result.More}, result.More, err
}

// askAll asks for deliveries, the oldest first, and ends with the first that
// cannot be asked for: then the next ones cannot either, most likely.
func (h *healing) askAll(ctx context.Context, r *Record, all []*delivery) error {
	for i, one := range all {
		if i == maxAsked || len(r.Open) >= maxOpen {
			r.postpone(one)
			return nil
		}
		if h.dry {
			r.Asked++
			continue
		}
		_, err := ask.For(ctx, h.js, h.request(h.redeliver.Again, one.last.Again, h.requestID(one)))
		switch {
		case err == nil:
			r.asked(one, h.now())
		case isRefused(err): // it alone
			r.giveUp(one, h.now())
		default:
			r.postpone(one)
			return err
		}
	}
	return nil
}

// isRefused tells whether the provider will not send a delivery however often
// it is asked.
func isRefused(err error) bool {
	var e *events.Error
	return errors.As(err, &e) && (e.Code == events.CodeProviderRejected || e.Code == events.CodeInvalidParams)
}

// requestID is the same for the same delivery after the same attempts, and the
// hour: a request that failed can be made again in the next.
func (h *healing) requestID(one *delivery) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s\n%d", h.provider, h.connection.ID, len(one.id), one.id, one.failures))
	return "heal-" + hex.EncodeToString(sum[:12]) + "-" + h.now().UTC().Format("2006010215")
}

func (h *healing) request(action string, params json.RawMessage, requestID string) events.ActionRequest {
	return events.ActionRequest{
		ID: requestID, UserID: h.connection.UserID, ConnectionID: h.connection.ID,
		Provider: h.provider, Action: action, Params: params,
	}
}
