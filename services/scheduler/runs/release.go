package runs

import (
	"context"
	"errors"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
)

// release is a timer or a wait that is not needed any more.
type release struct {
	user, run, id string
	timer         bool
}

// releases are done behind the back of runs: a timer that is not taken back fires
// into the void, and a wait that is not is found out when an event comes.
type releases struct{ wanted chan release }

// want has r released, unless there is much to release already.
func (r *releases) want(one release) {
	select {
	case r.wanted <- one:
	default:
	}
}

const (
	releasePatience = 5 * time.Second
	releasers       = 4
)

// release works on what is not needed any more, until ctx ends and nothing is
// left, or for a while.
func (s *Service) release(ctx context.Context) {
	places := make(chan struct{}, releasers)
	defer func() {
		for range releasers {
			places <- struct{}{} // waits for those under way
		}
	}()
	for {
		select {
		case one := <-s.releases.wanted:
			places <- struct{}{}
			go func() {
				defer func() { <-places }()
				s.releaseOne(context.WithoutCancel(ctx), one)
			}()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) releaseOne(ctx context.Context, one release) {
	ctx, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	var err error
	if one.timer {
		err = s.Parking.Unpark(ctx, bus.KindRun, one.user, requestID(one.run, one.id))
	}
	err = errors.Join(err, s.waits.remove(ctx, one.user, one.run, one.id))
	if err != nil {
		s.Log.Debug().Err(err).Str("run", one.run).Msg("what a run does not wait for any more is kept")
	}
}
