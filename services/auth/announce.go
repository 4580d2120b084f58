package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// announceTimeout bounds the wait of a caller whose change is done already.
const announceTimeout = 5 * time.Second

// announce publishes a change that the revision of a record has gone through.
// The record is the truth and stays as it is: an announcement that the bus does
// not take is logged, and who must not miss a change follows the bucket.
func (s *store) announce(ctx context.Context, c events.Connection, change events.Change, revision uint64) {
	log := s.log.With().Str("connection", c.ID).Str("provider", c.Provider).Str("change", string(change)).Logger()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	if err := s.publish(ctx, c, change, revision); err != nil {
		log.Error().Err(err).Msg("connection change not announced")
		return
	}
	log.Info().Msg("connection changed")
}

func (s *store) publish(ctx context.Context, c events.Connection, change events.Change, revision uint64) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the connection: %w", err)
	}
	e := events.Event{
		ID:              fmt.Sprintf("%s.%s.%d", c.ID, change, revision),
		Source:          "/plugfn/auth",
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
	if _, err := s.js.PublishMsg(ctx, msg, jetstream.WithMsgID(e.ID)); err != nil {
		return fmt.Errorf("publishing %s: %w", e.ID, err)
	}
	return nil
}
