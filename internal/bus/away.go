package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// settlePause is between two attempts to make use of a server that answers.
const settlePause = time.Second

// isAway reports whether the bus was opened without its server.
func (b *Bus) isAway() bool { return b.cfg.MayBeAway && b.server == nil && !b.conn.IsConnected() }

// Settle finishes what Open could not do while the server was away (see
// Config.MayBeAway): it waits until the bus is reached, looks whether that is a
// server that will do, and declares, as admin, what is stored. It returns once
// that is so, at once if it was so before, or when ctx ends. What stands in the
// way is logged, and said by [Bus.Ready]. One call at a time.
//
// Before, whatever is asked of the bus fails as it does during an outage.
func (b *Bus) Settle(ctx context.Context) {
	for !b.settled.Load() && ctx.Err() == nil {
		wait := attemptPause
		if b.conn.IsConnected() {
			if err := b.settle(ctx); err == nil {
				b.cfg.Log.Info().Str("role", string(b.cfg.Role)).Str("server", b.conn.ConnectedUrlRedacted()).Str("access", b.Access()).Msg("bus reached")
				return
			} else if ctx.Err() == nil {
				b.cfg.Log.Error().Err(err).Str("role", string(b.cfg.Role)).Msg("bus reached, and not of use")
				b.obstacle.Store(&err)
			}
			wait = settlePause
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// IsSettled reports whether the bus was of use at some time since it was opened.
func (b *Bus) IsSettled() bool { return b.settled.Load() }

// connected says why the bus cannot be reached, or not be used yet.
func (b *Bus) connected() error {
	status := b.conn.Status()
	switch obstacle := b.obstacle.Load(); {
	case b.settled.Load() && status == nats.CONNECTED:
		return nil
	case b.settled.Load():
		return fmt.Errorf("bus is %s", status)
	case status != nats.CONNECTED:
		return errors.New("bus is not reached yet")
	case obstacle != nil:
		return fmt.Errorf("bus is reached, and not of use: %w", *obstacle)
	default:
		return errors.New("bus is reached, and being looked at")
	}
}
