package schedules

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/scheduler/upkeep"
)

// Parking holds back what wakes a schedule.
type Parking interface {
	Park(ctx context.Context, later bus.Later) error
	Unpark(ctx context.Context, kind, user, id string) error
}

// Config holds what a Service needs. Conn, JetStream, Parking and Providers must
// be set, and APIKey for HTTP.
type Config struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Parking   Parking
	Providers *providers.Registry
	APIKey    providers.Secret // zero: no HTTP request is let through
	Log       zerolog.Logger

	MaxPerUser int              // schedules of one user that are not done; 0: 1,000
	LookEvery  time.Duration    // from one look for lost chains to the next; 0: 5 min
	Now        func() time.Time // nil: time.Now
}

// Service keeps schedules. Several may run on one bus.
type Service struct {
	Config
	store   atomic.Pointer[store] // nil until it was needed
	quota   quota
	looking *upkeep.Upkeep
	reached func(at step, scheduleID string) error
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	if cfg.Conn == nil || cfg.JetStream == nil || cfg.Parking == nil || cfg.Providers == nil {
		return nil, errors.New("schedules: Conn, JetStream, Parking and Providers are needed")
	}
	if cfg.MaxPerUser < 0 || cfg.LookEvery < 0 {
		return nil, errors.New("schedules: MaxPerUser and LookEvery must not be below zero")
	}
	if cfg.MaxPerUser == 0 {
		cfg.MaxPerUser = 1000
	}
	if cfg.LookEvery == 0 {
		cfg.LookEvery = 5 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{Config: cfg, quota: quota{most: cfg.MaxPerUser}}
	s.looking = upkeep.New(cfg.LookEvery, s.look, func(err error) {
		cfg.Log.Warn().Err(err).Msg("schedules not looked after: trying again")
	})
	return s, nil
}

// opened is the store of the schedules.
func (s *Service) opened(ctx context.Context) (*store, error) {
	if known := s.store.Load(); known != nil {
		return known, nil
	}
	opened, err := openStore(ctx, s.JetStream, s.Log)
	if err != nil {
		return nil, err
	}
	s.store.Store(opened)
	return opened, nil
}

// Run answers on the bus and looks after the schedules, until ctx ends and what
// is in hand is done. It returns an error only when it cannot go on.
func (s *Service) Run(ctx context.Context) error {
	open, err := s.serve()
	if err != nil {
		return fmt.Errorf("schedules: %w", err)
	}
	var looking sync.WaitGroup
	looking.Go(func() { s.looking.Run(ctx) })
	<-ctx.Done()
	open.Close()
	looking.Wait()
	return nil
}

const (
	// underWay is how long after its time a schedule is left alone: what wakes it
	// may be on its way.
	underWay = time.Minute
	doneAge  = 7 * 24 * time.Hour
)

// look finds schedules that nothing will wake, and those that were done long ago.
func (s *Service) look(ctx context.Context) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	var asleep, old []record
	now := s.Now()
	err = store.each(ctx, "", func(r *record) {
		switch {
		case r.State == Active && (r.Wake.After(now) || now.Sub(r.Wake) > underWay):
			asleep = append(asleep, record{ID: r.ID, UserID: r.UserID})
		case r.State == Done && now.Sub(r.EndedAt) > doneAge:
			old = append(old, record{ID: r.ID, UserID: r.UserID})
		}
	})
	for i := range asleep {
		err = errors.Join(err, s.revive(ctx, store, &asleep[i]))
	}
	for i := range old {
		err = errors.Join(err, store.delete(ctx, &old[i]))
	}
	return err
}

// revive parks what wakes a schedule, where nothing is parked.
func (s *Service) revive(ctx context.Context, store *store, seen *record) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	parked, err := s.last(ctx, events.StreamLater, events.LaterSubject(bus.KindSchedule, seen.UserID, seen.ID))
	if err != nil || parked != nil {
		return err
	}
	r, _, err := store.get(ctx, seen.key()) // as it is now
	switch {
	case errors.Is(err, errNone):
		return nil
	case err != nil:
		return err
	case r.State != Active || !r.Wake.After(s.Now()) && s.Now().Sub(r.Wake) <= underWay:
		return nil
	}
	s.Log.Warn().Str("schedule", r.ID).Time("wake", r.Wake).Msg("nothing would wake the schedule: parking it again")
	return s.park(ctx, &r)
}
