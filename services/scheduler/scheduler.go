package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// Firings is where the firings come from.
type Firings interface {
	// Moved removes a firing that has reached its target.
	Moved(ctx context.Context, sequence uint64) error
}

// Schedules carries on the schedules that wake.
type Schedules interface {
	// Wake does what is due. again says that the firing was delivered before.
	Wake(ctx context.Context, f bus.Firing, body []byte, again bool) error
}

// Config holds what a Service needs.
type Config struct {
	JetStream jetstream.JetStream
	Firings   Firings
	Schedules Schedules // nil: there are none, and what wakes them waits for another scheduler
	Log       zerolog.Logger

	MaxInFlight  int           // firings moved at once; 0: 64
	AckWait      time.Duration // how long a dead scheduler holds its firings; 0: 10 s
	DrainTimeout time.Duration // how long Run lets the work in hand go on after its context ends; 0: 10 s
}

// Service moves what is due to its target.
type Service struct {
	Config
	firings atomic.Pointer[bus.Worker] // nil before Run
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	if cfg.JetStream == nil || cfg.Firings == nil {
		return nil, errors.New("scheduler: JetStream and Firings are needed")
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 64
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = 10 * time.Second
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 10 * time.Second
	}
	return &Service{Config: cfg}, nil
}

// Run moves firings until ctx ends and those in hand are moved. It returns an
// error only when it cannot go on.
func (s *Service) Run(ctx context.Context) error {
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream:    s.JetStream,
		Stream:       events.StreamLater,
		Durable:      func(string) string { return "mover" },
		MaxInFlight:  s.MaxInFlight,
		AckWait:      s.AckWait,
		NakDelay:     func(uint64) time.Duration { return time.Second },
		CloseTimeout: s.DrainTimeout,
		Log:          s.Log,
	})
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	firings := &bus.Worker{
		Topic: events.PrefixDue + ">", Subscriber: subscriber, Handle: s.move,
		CloseTimeout: s.DrainTimeout + 5*time.Second, Log: s.Log,
	}
	s.firings.Store(firings)
	if err := firings.Run(ctx); err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	return nil
}

// Ready says why nothing is being moved, nil while it is.
func (s *Service) Ready(context.Context) error {
	firings := s.firings.Load()
	if firings == nil {
		return errors.New("scheduler: not running")
	}
	return firings.Ready()
}

// jobTTL is how long a job of the auth service waits for it among the events.
// It looks for jobs that it missed when it starts.
const jobTTL = 24 * time.Hour

// moveTimeout is how long the bus may take to store one message.
const moveTimeout = 5 * time.Second

// move is the Watermill handler of a firing: nil acknowledges it, an error has
// it delivered again.
func (s *Service) move(msg *message.Message) error {
	ctx, cancel := context.WithTimeout(msg.Context(), moveTimeout)
	defer cancel()
	received, err := events.ReceivedOf(msg)
	if err != nil {
		return fmt.Errorf("moving a firing: %w", err)
	}
	firing, invalid := bus.Due(received.Subject, events.HeaderOf(msg), received.Sequence)
	if invalid == nil && firing.Kind == bus.KindSchedule {
		err = s.wake(ctx, firing, msg.Payload, received.Deliveries > 1)
	} else {
		_, err = s.JetStream.PublishMsg(ctx, s.forward(firing, invalid, received.Sequence, msg.Payload))
	}
	if err != nil {
		s.Log.Warn().Err(err).Str("target", firing.Target).Uint64("sequence", received.Sequence).Msg("firing not moved, trying again")
		return fmt.Errorf("moving a firing: %w", err)
	}
	s.Log.Debug().Str("target", firing.Target).Uint64("sequence", received.Sequence).Msg("firing moved")
	if err := s.Firings.Moved(ctx, received.Sequence); err != nil {
		// It only takes space, until its time to live ends.
		s.Log.Debug().Err(err).Uint64("sequence", received.Sequence).Msg("moved firing kept")
	}
	return nil
}

func (s *Service) wake(ctx context.Context, f bus.Firing, body []byte, again bool) error {
	if s.Schedules == nil {
		return errors.New("this scheduler has no schedules")
	}
	return s.Schedules.Wake(ctx, f, body, again)
}

// forward makes the message that a firing becomes: the one that was parked, or
// a dead letter when it is nobody's, as invalid says.
func (s *Service) forward(firing bus.Firing, invalid error, sequence uint64, body []byte) *nats.Msg {
	if invalid != nil {
		s.Log.Warn().Err(invalid).Uint64("sequence", sequence).Msg("firing without a target")
		firing = bus.Firing{
			Target: events.DeadSubject("action", "", "", "due"), ID: fmt.Sprintf("due:%d", sequence),
			Header: nats.Header{events.HeaderReason: {"a due message without a legal target"}},
		}
	}
	out := &nats.Msg{Subject: firing.Target, Header: firing.Header, Data: body}
	out.Header.Set(jetstream.MsgIDHeader, firing.ID)
	if firing.Kind == bus.KindConnection {
		out.Header.Set(jetstream.MsgTTLHeader, jobTTL.String())
	}
	return out
}
