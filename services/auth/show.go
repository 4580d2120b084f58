package auth

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// connection is a connection as the API shows it.
type connection struct {
	events.Connection
	LastUsedAt time.Time      `json:"last_used_at,omitzero" doc:"When its credential was handed out last, to the minute. Only where one connection is shown; absent if not in the last 90 days."`
	Refresh    *refreshReport `json:"refresh,omitempty" doc:"What keeps its credential from being renewed. Absent while nothing does."`
	Error      *events.Error  `json:"error,omitempty" doc:"Why the connection cannot be used; its status is then not \"active\"."`
}

// refreshReport is why a credential could not be renewed when that was tried
// last.
type refreshReport struct {
	Class       failureClass `json:"class" enum:"transient,dead,misconfigured,ambiguous" doc:"What it means: try again later, the user has to connect again, the operator's app is refused, or the answer could not be read."`
	Code        string       `json:"code,omitempty" doc:"The provider's error code."`
	Status      int          `json:"status,omitempty" doc:"HTTP status of the provider's answer."`
	At          time.Time    `json:"at" doc:"When that was."`
	NextAttempt time.Time    `json:"next_attempt,omitzero" doc:"When it is tried again."`
	Interrupted bool         `json:"interrupted,omitempty" doc:"An earlier attempt was cut off after the provider may have answered it, so that PlugFn may have lost the credential."`
}

// show returns the connection of a record. One that cannot be read is shown as
// such and does not hide the others.
func (s *store) show(entry jetstream.KeyValueEntry) connection {
	k, err := s.read(entry)
	if err == nil {
		_, err = s.open(&k)
	}
	c := connection{Connection: k.Connection, Refresh: k.report()}
	switch {
	case err != nil:
		c.Status = events.ConnectionError
		c.Error = events.Errorf(events.CodeNeedsReauth, "%v; connect the account again, or restore the record from your backup", err)
	case k.Status != events.ConnectionActive && k.Status != events.ConnectionPending:
		c.Error = mustReauthorise(&k.record)
	}
	return c
}

func (r *record) report() *refreshReport {
	failed := r.Refresh.Failure
	if failed == nil {
		return nil
	}
	return &refreshReport{
		Class: failed.Class, Code: failed.Code, Status: failed.Status, At: failed.At,
		NextAttempt: r.Refresh.NextAttempt, Interrupted: r.Refresh.Cut > 0,
	}
}

// get returns the connection of that id. An empty user stands for any.
func (s *store) get(ctx context.Context, user, connectionID string) (connection, error) {
	entry, err := s.find(ctx, user, connectionID)
	if err != nil {
		return connection{}, err
	}
	c := s.show(entry)
	if c.LastUsedAt, err = s.audit.lastUsed(ctx, &c.Connection); err != nil {
		s.log.Warn().Err(err).Str("connection", c.ID).Msg("last use not known")
	}
	return c, nil
}

// history lists what was done with the connection of that id, the latest first.
func (s *store) history(ctx context.Context, user, connectionID string) ([]entry, error) {
	found, err := s.find(ctx, user, connectionID)
	if err != nil {
		return nil, err
	}
	k, _ := s.read(found) // or what its key tells
	return s.audit.of(ctx, &k.Connection)
}
