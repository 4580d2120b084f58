package upkeep

import (
	"context"
	"time"
)

const (
	retry  = 5 * time.Second // after a look that failed
	budget = 2 * time.Minute // of one look
)

// Upkeep looks after something.
type Upkeep struct {
	every  time.Duration
	look   func(context.Context) error
	failed func(error)
	soon   chan struct{}
}

// New makes an Upkeep that does nothing until Run: look is called every so often,
// one at a time, and failed with what went wrong.
func New(every time.Duration, look func(context.Context) error, failed func(error)) *Upkeep {
	return &Upkeep{every: every, look: look, failed: failed, soon: make(chan struct{}, 1)}
}

// Run looks until ctx ends.
func (u *Upkeep) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.soon:
		case <-timer.C:
		}
		pause := u.every
		if err := u.once(ctx); err != nil && ctx.Err() == nil {
			u.failed(err)
			pause = min(retry, pause)
		}
		timer.Reset(pause)
	}
}

func (u *Upkeep) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	return u.look(ctx)
}

// Soon has it looked after before it is time.
func (u *Upkeep) Soon() {
	select {
	case u.soon <- struct{}{}:
	default: // one look is wanted already
	}
}
