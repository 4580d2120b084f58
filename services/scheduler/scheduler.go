package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// Config holds what a Service needs.
type Config struct {
	JetStream jetstream.JetStream
	Log       zerolog.Logger

	MaxInFlight  int           // firings moved at once; 0: 64
	AckWait      time.Duration // how long a dead scheduler holds its firings; 0: 10 s
	DrainTimeout time.Duration // how long Run lets the work in hand go on after its context ends; 0: 10 s
}

// Service moves what is due to its target.
type Service struct {
	Config
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	if cfg.JetStream == nil {
		return nil, errors.New("scheduler: JetStream is needed")
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
	stream, err := s.JetStream.Stream(ctx, events.StreamLater)
	if err != nil {
		return fmt.Errorf("scheduler: opening the schedules: %w", err)
	}
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream:    s.JetStream,
		Stream:       events.StreamLater,
		Durable:      "mover",
		MaxInFlight:  s.MaxInFlight,
		AckWait:      s.AckWait,
		NakDelay:     func(uint64) time.Duration { return time.Second },
		CloseTimeout: s.DrainTimeout,
		Log:          s.Log,
	})
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: s.DrainTimeout + 5*time.Second}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	m := mover{Service: s, stream: stream}
	router.AddConsumerHandler("mover", events.PrefixDue+">", subscriber, m.handle)
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	return nil
}

// mover is a Service at work.
type mover struct {
	*Service
	stream jetstream.Stream
}

// moveTimeout is how long the bus may take to store one message.
const moveTimeout = 5 * time.Second

// handle is the Watermill handler of a firing: nil acknowledges it, an error
// has it delivered again.
func (m mover) handle(msg *message.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(msg.Context()), moveTimeout)
	defer cancel()
	header := nats.Header{}
	for name, value := range msg.Metadata {
		header[name] = []string{value}
	}
	sequence, err := strconv.ParseUint(msg.Metadata.Get(events.MetaSequence), 10, 64)
	if err != nil {
		return fmt.Errorf("reading a firing's sequence: %w", err)
	}
	out := m.target(header, sequence, msg)
	if _, err := m.JetStream.PublishMsg(ctx, out); err != nil {
		m.Log.Warn().Err(err).Str("target", out.Subject).Uint64("sequence", sequence).Msg("firing not moved, trying again")
		return fmt.Errorf("moving a firing: %w", err)
	}
	m.Log.Debug().Str("target", out.Subject).Uint64("sequence", sequence).Msg("firing moved")
	// What was moved need not be kept; left behind it would only take space
	// until its time to live ends.
	if err := m.stream.DeleteMsg(ctx, sequence); err != nil {
		m.Log.Debug().Err(err).Uint64("sequence", sequence).Msg("moved firing not deleted")
	}
	return nil
}

// target makes the message that a firing becomes: the one that was parked, or a
// dead letter when it names no legal target.
func (m mover) target(header nats.Header, sequence uint64, msg *message.Message) *nats.Msg {
	subject, msgID, err := bus.Due(header, sequence)
	if err != nil {
		subject, msgID = events.DeadSubject("action", "", "", "due"), fmt.Sprintf("due:%d", sequence)
		header.Set(events.HeaderReason, err.Error())
		m.Log.Warn().Err(err).Uint64("sequence", sequence).Msg("firing without a target")
	}
	out := nats.NewMsg(subject)
	out.Data = msg.Payload
	out.Header = bus.Forward(header)
	out.Header.Set(jetstream.MsgIDHeader, msgID)
	return out
}
