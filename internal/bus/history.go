package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// History is which messages of a stream are read.
type History struct {
	Stream      string
	Subject     string    // may hold wildcards
	Since       time.Time // when they were stored
	HeadersOnly bool
}

// readAhead is how many messages are asked for at once.
const readAhead = 2000

// Read calls each for the messages that there are now, the oldest first, until
// it reports false. It ends early with the error of ctx.
func (h History) Read(ctx context.Context, js jetstream.JetStream, each func(jetstream.Msg) bool) error {
	consumer, err := js.OrderedConsumer(ctx, h.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{h.Subject}, HeadersOnly: h.HeadersOnly,
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &h.Since,
	})
	if err != nil {
		return err
	}
	if info := consumer.CachedInfo(); info == nil || info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		msg, err := messages.Next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		about, err := msg.Metadata()
		if err != nil {
			return err
		}
		if !each(msg) || about.NumPending == 0 {
			return nil
		}
	}
}
