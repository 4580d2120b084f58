package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

// What is noted beside the changes that are announced.
const (
	auditUsed      = "used"      // its credential was handed out
	auditTested    = "tested"    // its credential was tried
	auditRevoked   = "revoked"   // its credential was given back
	auditUnrevoked = "unrevoked" // giving it back was given up
)

const (
	auditEvery  = time.Minute // one note of use for each connection and asker
	auditQueue  = 1024        // notes of use that wait to be written
	auditSource = "/plugfn/auth"
	maxMemory   = 50_000 // uses remembered
)

// entry is one note of the audit: who did what with a connection, and when. No
// secret is in it.
type entry struct {
	What   string    `json:"what"`
	Actor  string    `json:"actor"` // api, browser, auth for the service itself; of a use who asked, by its own account
	At     time.Time `json:"at"`
	Detail string    `json:"detail,omitempty"`

	connection events.Connection
}

func newEntry(ctx context.Context, what string, at time.Time, c events.Connection) entry {
	return entry{What: what, Actor: actorOf(ctx), At: at.UTC(), connection: c}
}

// audit keeps who used and who changed which connection. Changes are noted as
// they are announced; uses as they come, but no more than one a minute for each
// connection and asker, and not on the way of a request.
type audit struct {
	js    jetstream.JetStream
	log   zerolog.Logger
	now   func() time.Time
	queue chan entry

	mu   sync.Mutex
	last map[string]time.Time // :: connection's key and asker → when the last use was noted
}

func newAudit(js jetstream.JetStream, log zerolog.Logger, now func() time.Time) *audit {
	return &audit{js: js, log: log, now: now, queue: make(chan entry, auditQueue), last: map[string]time.Time{}}
}

// used notes a use some time soon.
func (a *audit) used(k *kept, asker string) {
	now := a.now()
	if !a.isNews(k.key+" "+asker, now) {
		return
	}
	if asker == "" {
		asker = "unknown"
	}
	select {
	case a.queue <- entry{What: auditUsed, Actor: asker, At: now.UTC(), Detail: fmt.Sprintf("version %d", k.Version), connection: k.Connection}:
	default:
		a.log.Warn().Str("connection", k.ID).Str("actor", asker).Msg("use of a connection not noted: too many at once")
	}
}

// isNews reports whether no such use was noted lately, and remembers this one.
func (a *audit) isNews(use string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if since := now.Sub(a.last[use]); since >= 0 && since < auditEvery {
		return false
	}
	if len(a.last) >= maxMemory {
		clear(a.last) // some uses are noted twice
	}
	a.last[use] = now
	return true
}

// run writes the notes of use until ctx ends, and then what is left of them.
func (a *audit) run(ctx context.Context) {
	for {
		select {
		case e := <-a.queue:
			a.note(context.WithoutCancel(ctx), e)
		case <-ctx.Done():
			for {
				select {
				case e := <-a.queue:
					a.note(context.WithoutCancel(ctx), e)
				default:
					return
				}
			}
		}
	}
}

// note writes one entry. Where the bus does not take it, it is in the log.
func (a *audit) note(ctx context.Context, e entry) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	if err := a.write(ctx, e); err != nil {
		a.log.Error().Err(err).Str("connection", e.connection.ID).Str("user", e.connection.UserID).Str("provider", e.connection.Provider).
			Str("what", e.What).Str("actor", e.Actor).Time("at", e.At).Msg("audit entry not kept")
	}
}

func (a *audit) write(ctx context.Context, e entry) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding the audit entry: %w", err)
	}
	c := e.connection
	event := events.Event{
		ID: id.New("aud"), Source: auditSource, Type: "dev.plugfn.audit." + e.What, Subject: c.Provider + "/" + c.ID,
		Time: e.At, DataContentType: "application/json", UserID: c.UserID, ConnectionID: c.ID, Provider: c.Provider, Data: body,
	}
	if _, err := a.js.PublishMsg(ctx, event.Msg(events.AuditSubject(c.UserID, c.Provider, c.ID, e.What))); err != nil {
		return fmt.Errorf("publishing the audit entry: %w", err)
	}
	return nil
}

// lastUsed is when the credential of c was last handed out; zero if it was not
// within the age of the audit.
func (a *audit) lastUsed(ctx context.Context, c *events.Connection) (time.Time, error) {
	return a.lastOf(ctx, c, auditUsed)
}

// lastOf is when something was last noted of c; zero if it was not within the
// age of the audit.
func (a *audit) lastOf(ctx context.Context, c *events.Connection, what string) (time.Time, error) {
	stream, err := a.js.Stream(ctx, events.StreamAudit)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the audit: %w", err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, events.AuditSubject(c.UserID, c.Provider, c.ID, what))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the audit: %w", err)
	}
	var e entry
	if err := json.Unmarshal(msg.Data, &e); err != nil {
		return time.Time{}, errors.New("reading the audit: the entry is not JSON of the known form")
	}
	return e.At, nil
}

// maxEntries is how many entries of a connection are shown.
const maxEntries = 100

// of lists the last entries of a connection, the latest first.
func (a *audit) of(ctx context.Context, c *events.Connection) ([]entry, error) {
	subject := events.AuditSubject(c.UserID, c.Provider, c.ID, "")
	consumer, err := a.js.OrderedConsumer(ctx, events.StreamAudit, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return nil, fmt.Errorf("reading the audit: %w", err)
	}
	var all []entry
	for left := uint64(1); left > 0; {
		msg, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
		if errors.Is(err, jetstream.ErrNoMessages) || errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, fmt.Errorf("reading the audit: %w", err)
		}
		left = meta.NumPending
		var e entry
		if json.Unmarshal(msg.Data(), &e) == nil {
			all = append([]entry{e}, all...)
		}
	}
	return all[:min(len(all), maxEntries)], nil
}
