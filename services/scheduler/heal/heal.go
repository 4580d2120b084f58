package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	due          = events.PrefixRun + events.NoUser + ".heal.due"
	durable      = "healer"
	runPatience  = 10 * time.Minute // for all connections of a provider
	parkPatience = 10 * time.Second
)

// Parking holds schedules.
type Parking interface {
	Park(ctx context.Context, later bus.Later) error
	Unpark(ctx context.Context, kind, user, id string) error
}

// Config holds what a Service needs.
type Config struct {
	JetStream jetstream.JetStream
	Parking   Parking
	Providers *providers.Registry
	Log       zerolog.Logger

	Every        time.Duration    // from one look to the next, in whole seconds; 0: never
	Now          func() time.Time // nil: time.Now
	DrainTimeout time.Duration    // how long Run lets the work in hand go on after its context ends; 0: 10 s
}

// Service looks for failed deliveries again and again. Several may run on one
// bus.
type Service struct{ Config }

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	if cfg.JetStream == nil || cfg.Parking == nil || cfg.Providers == nil {
		return nil, errors.New("heal: JetStream, Parking and Providers are needed")
	}
	if cfg.Every < 0 || cfg.Every > 0 && cfg.Every < time.Second {
		return nil, fmt.Errorf("heal: Every %s: must be zero or at least a second", cfg.Every)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 10 * time.Second
	}
	return &Service{cfg}, nil
}

// Run works until ctx ends and the run in hand is done, or is cut off. It returns
// an error only when it cannot go on.
func (s *Service) Run(ctx context.Context) error {
	if err := s.schedule(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("heal: %w", err)
	}
	if s.Every == 0 {
		<-ctx.Done()
		return nil
	}
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream: s.JetStream, Stream: events.StreamRuns, Durable: func(string) string { return durable },
		MaxInFlight: 1, Prefetch: -1, AckWait: 30 * time.Second, CloseTimeout: s.DrainTimeout, Log: s.Log,
	})
	if err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	worker := &bus.Worker{
		Topic: due, Subscriber: subscriber, CloseTimeout: s.DrainTimeout + 5*time.Second, Log: s.Log,
		Handle: func(msg *message.Message) error { s.handle(ctx, msg); return nil },
	}
	if err := worker.Run(ctx); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	return nil
}

// job is the body of what is due.
type job struct {
	Provider string `json:"provider"`
}

// schedule parks a schedule for each provider whose pack says how to heal, or
// takes it back. To park it again begins its time anew, so that the next look
// after a start is one Every away.
func (s *Service) schedule(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, parkPatience)
	defer cancel()
	for _, name := range s.Providers.Names() {
		if pack, _ := s.Providers.Pack(name); pack.Webhooks == nil || pack.Webhooks.Redeliver == nil {
			continue
		}
		schedule := "heal-" + name
		if s.Every == 0 {
			if err := s.Parking.Unpark(ctx, bus.KindRun, "", schedule); err != nil {
				return err
			}
			continue
		}
		body, err := json.Marshal(job{name})
		if err != nil {
			return err
		}
		for _, l := range []bus.Later{
			{ID: schedule, Every: s.Every.Round(time.Second)},
			{ID: schedule + "-first", At: s.Now()}, // what failed while nobody looked
		} {
			l.Kind, l.Target, l.Data = bus.KindRun, due, body
			if err := s.Parking.Park(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// handle makes one run. What goes wrong is told and left to the next.
func (s *Service) handle(ctx context.Context, msg *message.Message) {
	ctx, cancel := context.WithTimeout(ctx, runPatience)
	defer cancel()
	var j job
	if err := json.Unmarshal(msg.Payload, &j); err != nil {
		s.Log.Warn().Err(err).Msg("a run of healing cannot be read")
		return
	}
	pack, ok := s.Providers.Pack(j.Provider)
	if !ok {
		s.Log.Warn().Str("provider", j.Provider).Msg("no such provider to heal")
		return
	}
	if late, err := s.ranRecently(ctx, j.Provider); err != nil || late {
		return
	}
	all, err := Once(ctx, s.JetStream, pack, false, s.Now)
	if err != nil && ctx.Err() == nil {
		s.Log.Warn().Err(err).Str("provider", j.Provider).Msg("deliveries not healed")
	}
	for _, r := range all {
		s.report(r)
	}
}

// ranRecently tells whether another firing has just been worked on: after a
// start, or several of them, there are more than one.
func (s *Service) ranRecently(ctx context.Context, provider string) (bool, error) {
	all, err := Records(ctx, s.JetStream, provider)
	if err != nil {
		s.Log.Warn().Err(err).Str("provider", provider).Msg("deliveries not healed")
		return false, err
	}
	for _, r := range all {
		if s.Now().Sub(r.RanAt) < s.Every/2 {
			return true, nil
		}
	}
	return false, nil
}

// report says what a run came to: in one line, quiet where nothing was to do.
func (s *Service) report(r Record) {
	line := s.Log.Debug()
	switch {
	case r.Error != "":
		line = s.Log.Warn().Str("cause", r.Error)
	case r.Gap:
		line = s.Log.Warn()
	case r.Asked > 0 || r.Failed > 0:
		line = s.Log.Info()
	}
	line.Str("provider", r.Provider).Str("connection", r.ConnectionID).Int("listed", r.Listed).Int("failed", r.Failed).
		Int("asked", r.Asked).Uint64("recovered", r.Recovered).Uint64("lost", r.Lost).Bool("gap", r.Gap).Msg("looked for failed deliveries")
}
