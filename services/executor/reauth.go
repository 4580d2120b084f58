package executor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// reauthRecheck is how often a request that waits for a connection is tried
	// although nobody said that the connection has changed: it may have been said
	// and not stored.
	reauthRecheck = 15 * time.Minute
	// releasePace is between two requests that a connection lets go.
	releasePace = 10 * time.Millisecond
)

// parked is a request that waits for a connection, in bus.BucketWaiting under
// Key(user, provider, request id).
type parked struct {
	Connection string    `json:"connection,omitempty"` // empty: which one is not known
	Version    int       `json:"version,omitempty"`    // of the credential that was refused; 0: there was none
	Schedule   string    `json:"schedule"`             // by which it is parked
	TakenUp    time.Time `json:"taken_up"`
	Sequence   uint64    `json:"sequence"`

	key      string
	revision uint64
}

// parkForReauth has t wait until its connection works again, or its limit.
// version is that of the credential that was refused.
func (w *worker) parkForReauth(ctx context.Context, t *task, e *entry, version int) error {
	now, limit := w.Now(), t.limit(e)
	if !limit.After(now) {
		v := verdict{do: doFail, gaveUp: "the deadline passed while it waited for the connection"}
		if e.Doubt {
			v.do = doUnknown
		}
		return w.giveUp(ctx, t, e, v)
	}
	e.Deferrals++
	e.Version = version
	if !e.Doubt {
		e.Connection = t.ConnectionID
	}
	until := now.Add(reauthRecheck)
	if limit.Before(until) {
		until = limit
	}
	waits := parked{
		Connection: t.ConnectionID, Version: version, TakenUp: e.TakenUp, Sequence: t.sequence,
		Schedule: events.LaterSubject(bus.KindAction, t.UserID, t.ID),
	}
	if err := w.enlist(ctx, t, &waits); err != nil {
		return err
	}
	if err := w.wait(ctx, t, e, waitReauth, until); err != nil {
		return err
	}
	// The connection may have recovered before the request was on the list.
	c, err := w.Credentials.Credential(ctx, t.UserID, t.Provider, t.ConnectionID)
	if err == nil && c.Version > version {
		_, err = w.Parking.Hasten(ctx, waits.Schedule, now)
		return err
	}
	return nil
}

func (w *worker) enlist(ctx context.Context, t *task, p *parked) error {
	body, err := json.Marshal(p)
	if err == nil {
		_, err = w.waiting.Put(ctx, events.Key(t.UserID, t.Provider, t.ID), body)
	}
	if err != nil {
		return fmt.Errorf("noting that the request waits for its connection: %w", err)
	}
	return nil
}

// follows takes changes of connections until ctx ends.
func (w *worker) follows(ctx context.Context, changes <-chan *message.Message) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg, ok := <-changes:
			if !ok {
				return
			}
			if err := w.changed(msg); err != nil {
				w.Log.Warn().Err(err).Msg("change of a connection not taken, trying again")
				msg.Nack()
				continue
			}
			msg.Ack()
		}
	}
}

// changed lets the requests go that waited for a connection, in the order in
// which they came. An error has the change delivered again.
func (w *worker) changed(msg *message.Message) error {
	received, err := events.ReceivedOf(msg)
	if err != nil {
		return err
	}
	parts := strings.Split(strings.TrimPrefix(received.Subject, events.PrefixConnection), ".")
	if len(parts) != 3 {
		return nil
	}
	var c events.Connection
	change := events.Change(parts[2])
	releases := []events.Change{events.Created, events.Updated, events.Refreshed, events.Recovered, events.Deleted}
	if !slices.Contains(releases, change) || json.Unmarshal(msg.Payload, &c) != nil {
		return nil
	}
	if change != events.Deleted && c.Status != events.ConnectionActive {
		return nil
	}
	return w.release(w.work, parts[0]+"."+parts[1]+".*", func(p *parked) bool {
		return p.Connection == "" || p.Connection == c.ID && (change == events.Deleted || c.Version > p.Version)
	})
}

// release has the waiting requests below a filter delivered that are concerned.
func (w *worker) release(ctx context.Context, filter string, concerned func(*parked) bool) error {
	waits, err := w.listed(ctx, filter)
	if err != nil {
		return fmt.Errorf("listing what waits for a connection: %w", err)
	}
	waits = slices.DeleteFunc(waits, func(p parked) bool { return !concerned(&p) })
	slices.SortFunc(waits, func(a, b parked) int {
		return cmp.Or(a.TakenUp.Compare(b.TakenUp), cmp.Compare(a.Sequence, b.Sequence))
	})
	at := w.Now()
	for _, p := range waits {
		at = at.Add(releasePace)
		if _, err := w.Parking.Hasten(ctx, p.Schedule, at); err != nil {
			return fmt.Errorf("releasing a request: %w", err)
		}
		// Whoever waits again in the meantime keeps his place on the list.
		if err := w.waiting.Delete(ctx, p.key, jetstream.LastRevision(p.revision)); err != nil && !isConflict(err) {
			return fmt.Errorf("releasing a request: %w", err)
		}
	}
	if len(waits) > 0 {
		w.Log.Info().Int("requests", len(waits)).Msg("requests released: their connection has changed")
	}
	return nil
}

// listed reads the list.
func (w *worker) listed(ctx context.Context, filter string) ([]parked, error) {
	watch, err := w.waiting.Watch(ctx, filter, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = watch.Stop() }() // it ends with ctx as well
	var all []parked
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case kve, ok := <-watch.Updates():
			if !ok {
				return nil, errors.New("the list ended early")
			}
			if kve == nil {
				return all, nil
			}
			p := parked{key: kve.Key(), revision: kve.Revision()}
			if json.Unmarshal(kve.Value(), &p) == nil {
				all = append(all, p)
			}
		}
	}
}
