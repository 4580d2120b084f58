package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// Parking holds messages until they are due. [bus.Bus] does.
type Parking interface {
	Park(ctx context.Context, later bus.Later) error
	Unpark(ctx context.Context, kind, user, id string) error
}

// The jobs that a schedule is for.
const (
	jobRefresh = "refresh" // a connection
	jobRevoke  = "revoke"  // give the credential of a deleted connection back
)

// job is the body of a scheduled message. It holds no secret and grants
// nothing: whoever forges one has a connection looked at.
type job struct {
	Job          string `json:"job"`
	UserID       string `json:"user_id"`
	Provider     string `json:"provider"`
	ConnectionID string `json:"connection_id"`
}

func (j *job) key() string { return events.Key(j.UserID, j.Provider, j.ConnectionID) }

// subject is where the job arrives when it is due.
func (j *job) subject() string { return events.ConnectionSubject(j.UserID, j.Provider, events.Due) }

// id is that of the schedule: each connection has one for each kind of job.
func (j *job) id() string { return j.Job + "-" + j.ConnectionID }

// parseJob reads a job that arrived on subject. One that is not for the user
// and the provider of the subject is refused.
func parseJob(subject string, body []byte) (job, error) {
	var j job
	switch err := json.Unmarshal(body, &j); {
	case err != nil:
		return job{}, errors.New("the job is not JSON of the known form")
	case j.subject() != subject:
		return job{}, errors.New("the job is not for the user and the provider of its subject")
	case j.ConnectionID == "" || len(j.ConnectionID) > events.MaxID || strings.ContainsAny(j.ConnectionID, ".*>"):
		return job{}, errors.New("the job names no connection")
	}
	return j, nil
}

// park has j done at a time. What was parked for it before is replaced.
func (s *store) park(ctx context.Context, j job, at time.Time) error {
	body, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encoding the job: %w", err)
	}
	return s.parking.Park(ctx, bus.Later{
		Kind: bus.KindConnection, User: j.UserID, ID: j.id(), At: at, Target: j.subject(), Data: body,
	})
}

func (s *store) unpark(ctx context.Context, j job) error {
	return s.parking.Unpark(ctx, bus.KindConnection, j.UserID, j.id())
}

// maxAhead is the latest that a schedule is for: long before it, the job looks
// again.
const maxAhead = 300 * 24 * time.Hour

// scheduleNext has r looked at when it is due, if ever.
func (s *store) scheduleNext(ctx context.Context, r *record) error {
	at := r.dueAt(s.rules(r))
	if at.IsZero() {
		return nil
	}
	if latest := s.now().Add(maxAhead); at.After(latest) {
		at = latest
	}
	return s.park(ctx, refreshJob(r), at)
}

func refreshJob(r *record) job {
	return job{Job: jobRefresh, UserID: r.UserID, Provider: r.Provider, ConnectionID: r.ID}
}
