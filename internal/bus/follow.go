package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// followUsers has the embedded server learn who may connect, and go on learning
// until the bus closes.
func (b *Bus) followUsers(ctx context.Context) error {
	kv, err := b.js.KeyValue(ctx, BucketUsers)
	if err != nil {
		return fmt.Errorf("opening bucket %s: %w", BucketUsers, err)
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	b.unfollow = func() { stop(); <-ended }
	go func() {
		defer close(ended)
		b.server.gate.follow(following, kv, b.cfg.Log)
	}()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	select {
	case <-b.server.gate.known:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reading the users: %w", ctx.Err())
	}
}

// follow keeps g at what the store says, until ctx ends.
func (g *gate) follow(ctx context.Context, kv jetstream.KeyValue, log zerolog.Logger) {
	const pause = time.Second
	for {
		err := g.read(ctx, kv, log)
		if ctx.Err() != nil {
			return
		}
		log.Error().Err(err).Msg("users not followed, trying again")
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (g *gate) read(ctx context.Context, kv jetstream.KeyValue, log zerolog.Logger) error {
	first := map[string]bool{} // the names in the store; nil once all are known
	return eachUser(ctx, kv, func(entry jetstream.KeyValueEntry) bool {
		if entry == nil {
			g.keepOnly(first)
			first = nil
			g.settle()
			return true
		}
		if first != nil {
			first[entry.Key()] = true
		}
		if err := g.apply(entry); err != nil {
			log.Error().Err(err).Msg("user not admitted")
		}
		return true
	})
}

// apply admits or dismisses the user of a record. Nobody is admitted by one
// that cannot be read.
func (g *gate) apply(entry jetstream.KeyValueEntry) error {
	if entry.Operation() != jetstream.KeyValuePut {
		g.dismiss(entry.Key())
		return nil
	}
	u, err := decodeUser(entry)
	if err == nil {
		err = g.admit(u)
	}
	if err != nil {
		g.dismiss(entry.Key())
	}
	return err
}

// keepOnly dismisses who is not in the store any more.
func (g *gate) keepOnly(names map[string]bool) {
	for _, name := range g.names() {
		if !names[name] {
			g.dismiss(name)
		}
	}
}
