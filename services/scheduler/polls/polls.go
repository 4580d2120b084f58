package polls

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
	"github.com/plugfn/plugfn/services/scheduler/ask"
)

const (
	durable      = "poller"
	lookPatience = ask.Patience + 30*time.Second // with the events
	maxTries     = 5                             // of a look that others are faster at
)

// Config holds what a Service needs. JetStream and Providers must be set.
type Config struct {
	JetStream jetstream.JetStream
	Providers *providers.Registry
	Log       zerolog.Logger

	MaxInFlight  int              // looks at once; 0: 32
	Now          func() time.Time // nil: time.Now
	DrainTimeout time.Duration    // how long Run lets looks in hand go on after its context ends; 0: 10 s
}

// Service looks for what providers do not push. Several may run on one bus.
type Service struct {
	Config
	reached func(stage string) error // where tests break a look off
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	if cfg.JetStream == nil || cfg.Providers == nil {
		return nil, errors.New("polls: JetStream and Providers are needed")
	}
	if cfg.MaxInFlight < 0 {
		return nil, fmt.Errorf("polls: MaxInFlight %d: must not be below zero", cfg.MaxInFlight)
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 32
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 10 * time.Second
	}
	return &Service{Config: cfg}, nil
}

// Run looks until ctx ends and the looks in hand are done, or are cut off. It
// returns an error only when it cannot go on.
func (s *Service) Run(ctx context.Context) error {
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream: s.JetStream, Stream: events.StreamRuns, Durable: func(string) string { return durable },
		MaxInFlight: s.MaxInFlight, AckWait: 30 * time.Second, CloseTimeout: s.DrainTimeout, Log: s.Log,
		NakDelay: func(uint64) time.Duration { return time.Second },
	})
	if err != nil {
		return fmt.Errorf("polls: %w", err)
	}
	worker := &bus.Worker{
		Topic: due, Subscriber: subscriber, CloseTimeout: s.DrainTimeout + 5*time.Second, Log: s.Log,
		Handle: func(msg *message.Message) error { return s.handle(ctx, msg) },
	}
	if err := worker.Run(ctx); err != nil {
		return fmt.Errorf("polls: %w", err)
	}
	return nil
}

func (s *Service) handle(ctx context.Context, msg *message.Message) error {
	var t Tick
	if err := json.Unmarshal(msg.Payload, &t); err != nil || t.ID == "" || t.UserID == "" || t.Schedule == "" {
		s.Log.Error().Err(err).Msg("look unreadable")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	err := s.look(ctx, &t)
	if err != nil {
		s.Log.Warn().Err(err).Str("schedule", t.Schedule).Msg("look put off")
	}
	return err
}
