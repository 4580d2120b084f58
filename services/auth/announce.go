package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// announceTimeout bounds the wait of a caller whose change is done already.
	announceTimeout = 5 * time.Second
	// refreshedTTL is how long the stream keeps what comes often and is of use
	// to those only who hear it at once.
	refreshedTTL = time.Hour
)

// The actors of the audit.
const (
	actorSelf    = "auth" // the service, by its own schedule
	actorAPI     = "api"  // who has the API key
	actorBrowser = "browser"
)

type actorKey struct{}

// actingAs returns a context for what an actor has asked for.
func actingAs(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// actorOf returns who has asked for what ctx is about.
func actorOf(ctx context.Context) string {
	if actor, ok := ctx.Value(actorKey{}).(string); ok {
		return actor
	}
	return actorSelf
}

// announce publishes a change that the revision of a record has gone through,
// and notes it in the audit. The record is the truth and stays as it is: an
// announcement that the bus does not take is logged, and who must not miss a
// change follows the bucket.
func (s *store) announce(ctx context.Context, c events.Connection, change events.Change, revision uint64) {
	log := s.log.With().Str("connection", c.ID).Str("provider", c.Provider).Str("change", string(change)).Logger()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	if err := s.publish(ctx, c, change, revision); err != nil {
		log.Error().Err(err).Msg("connection change not announced")
	} else {
		log.Info().Msg("connection changed")
	}
	s.audit.note(ctx, newEntry(ctx, string(change), s.now(), c))
}

func (s *store) publish(ctx context.Context, c events.Connection, change events.Change, revision uint64) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the connection: %w", err)
	}
	e := events.Event{
		ID:              fmt.Sprintf("%s.%s.%d", c.ID, change, revision),
		Source:          auditSource,
		Type:            "dev.plugfn.connection." + string(change),
		Subject:         c.Provider + "/" + c.ID,
		Time:            s.now(),
		DataContentType: "application/json",
		UserID:          c.UserID,
		ConnectionID:    c.ID,
		Provider:        c.Provider,
		Account:         c.Account,
		Data:            body,
	}
	msg := e.Msg(events.ConnectionSubject(c.UserID, c.Provider, change))
	options := []jetstream.PublishOpt{jetstream.WithMsgID(e.ID)}
	if change == events.Refreshed {
		options = append(options, jetstream.WithMsgTTL(refreshedTTL))
	}
	if _, err := s.js.PublishMsg(ctx, msg, options...); err != nil {
		return fmt.Errorf("publishing %s: %w", e.ID, err)
	}
	return nil
}

// announceApp tells the operator that a provider refuses an app.
func (s *store) announceApp(ctx context.Context, provider, app string, why *failure) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	body, err := json.Marshal(struct {
		Provider string `json:"provider"`
		App      string `json:"app,omitempty"`
		Code     string `json:"code,omitempty"`
		Status   int    `json:"status,omitempty"`
	}{provider, app, why.Code, why.Status})
	if err == nil {
		e := events.Event{
			ID: id.New("app"), Source: auditSource, Type: "dev.plugfn.connection." + string(events.AppMisconfigured), Subject: provider,
			Time: s.now(), DataContentType: "application/json", Provider: provider, Data: body,
		}
		_, err = s.js.PublishMsg(ctx, e.Msg(events.ConnectionSubject("", provider, events.AppMisconfigured)))
	}
	if err != nil {
		s.log.Error().Err(err).Str("provider", provider).Msg("misconfigured app not announced")
	}
}
