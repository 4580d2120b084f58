package house

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/providers"
)

// StageConfig is what a sandbox in a process of its own is made with.
type StageConfig struct {
	Log   zerolog.Logger
	Packs map[string]*providers.Pack // needed; those of providers that nobody calls are passed by
	Addr  string                     // where HTTP listens; needed

	// Prepare is called once with the names of the providers that are played,
	// and again after a second where it fails. The sandbox is not ready before.
	// nil: there is nothing to prepare.
	Prepare func(ctx context.Context, played []string) error
}

// RunStage plays the providers, each below its name, and answers the paths of
// health, until ctx ends.
func RunStage(ctx context.Context, c StageConfig) error {
	played := maps.Clone(c.Packs)
	maps.DeleteFunc(played, func(_ string, pack *providers.Pack) bool { return !isCalled(pack) })
	box, err := sandbox.New(sandbox.Config{Packs: played, Log: c.Log.With().Str("service", "sandbox").Logger()})
	if err != nil {
		return err
	}
	l, err := listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	var prepared atomic.Bool
	prepared.Store(c.Prepare == nil)
	mux := http.NewServeMux()
	newHealth(check{"prepared", func(context.Context) error {
		if !prepared.Load() {
			return errors.New("not yet")
		}
		return nil
	}}).mount(mux)
	mux.Handle("/", box.Handler())
	all := slices.Sorted(maps.Keys(played))
	c.Log.Info().Strs("providers", all).Stringer("addr", l.Addr()).Msg("playing")
	return runGroup(ctx,
		func(ctx context.Context) error { return serveHTTP(ctx, newServer(mux, c.Log), l, time.Second) },
		func(ctx context.Context) error {
			c.prepare(ctx, all, &prepared)
			<-ctx.Done()
			return nil
		})
}

func (c *StageConfig) prepare(ctx context.Context, played []string, prepared *atomic.Bool) {
	const pause = time.Second
	for !prepared.Load() {
		err := c.Prepare(ctx, played)
		if err == nil {
			prepared.Store(true)
			return
		}
		c.Log.Info().Err(err).Msg("not prepared yet")
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
