package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/plugfn/plugfn/internal/bus"
)

// The bounds of forwarding.
const (
	loadMessages = 256 // held at once
	loadBytes    = 8 << 20
	keysAtOnce   = 64

	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
	lookAgain  = 15 * time.Second
)

// kept is one message of the spool.
type kept struct {
	seq  uint64
	at   string // its subject there
	msg  *nats.Msg
	done bool // the bus has it
}

// Run forwards what the spool has until ctx ends.
func (s *Spool) Run(ctx context.Context) error {
	defer s.store.Wait()
	stream, err := s.load(ctx)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for {
		if err := s.drain(ctx, stream); err != nil && ctx.Err() == nil {
			s.Log.Error().Err(err).Msg("the spool cannot be read")
			s.pause(ctx, lastPause)
			continue
		}
		select {
		case <-s.more:
		case <-time.After(lookAgain): // for what came to be here after its time-out
		case <-ctx.Done():
			return nil
		}
	}
}

// load learns what the spool has from before.
func (s *Spool) load(ctx context.Context) (jetstream.Stream, error) {
	stream, err := s.Local.Stream(ctx, bus.StreamSpool)
	if err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(bus.PrefixSpool+">"))
	if err != nil {
		return nil, fmt.Errorf("reading the spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, n := range info.State.Subjects {
		s.backlog[at] += int(n)
		s.total += int(n)
	}
	s.loaded, s.away = true, s.total > 0
	if s.total > 0 {
		s.Log.Info().Int("events", s.total).Msg("spool has events from before")
	}
	return stream, nil
}

// drain forwards until the spool is empty or ctx ends.
func (s *Spool) drain(ctx context.Context, stream jetstream.Stream) error {
	forwarded := 0
	for ctx.Err() == nil {
		load, last, err := s.read(ctx, stream)
		if err != nil {
			return err
		}
		if len(load) == 0 {
			break
		}
		if !s.forward(ctx, load) {
			return nil // ctx has ended
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSequence(last+1)); err != nil {
			return fmt.Errorf("removing what was forwarded: %w", err)
		}
		for _, k := range load {
			s.left(k.at)
		}
		forwarded += len(load)
	}
	if forwarded > 0 {
		s.Log.Info().Int("events", forwarded).Msg("spool forwarded")
	}
	return nil
}

// read returns the first messages, in their order, and the sequence of the last.
func (s *Spool) read(ctx context.Context, stream jetstream.Stream) (load []*kept, last uint64, err error) {
	before := s.calls()
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the spool: %w", err)
	}
	if info.State.Msgs == 0 {
		s.empty(before)
		return nil, 0, nil
	}
	size := 0
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && len(load) < loadMessages && size < loadBytes; seq++ {
		raw, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) { // only whole loads are removed
			s.Log.Error().Uint64("sequence", seq).Msg("an event in the spool cannot be read: it is lost")
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("reading the spool: %w", err)
		}
		load = append(load, &kept{seq: seq, at: raw.Subject, msg: unwrap(raw)})
		size += len(raw.Data)
		last = seq
	}
	return load, last, nil
}

// forward stores messages on the bus, again and again until all are there. It
// reports false when ctx has ended before.
func (s *Spool) forward(ctx context.Context, load []*kept) bool {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.try(ctx, load)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.Log.Debug().Err(err).Msg("spool not forwarded yet")
		s.pause(ctx, pause/2+rand.N(pause)) //nolint:gosec // spreads the attempts, protects nothing
	}
}

// try stores what the bus does not have yet. Messages of one key go one after
// the other, and none before the one ahead of it is stored.
func (s *Spool) try(ctx context.Context, load []*kept) error {
	byKey := map[string][]*kept{}
	for i, k := range load {
		key := k.at
		if key == subject("") {
			key = fmt.Sprint(i) // no order
		}
		byKey[key] = append(byKey[key], k)
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(keysAtOnce)
	for _, queue := range byKey {
		all.Go(func() error {
			for _, k := range queue {
				if k.done {
					continue
				}
				if err := s.Forward(ctx, k.msg); err != nil {
					return err
				}
				k.done = true
				s.back()
			}
			return nil
		})
	}
	return all.Wait()
}

// back says that the bus answers.
func (s *Spool) back() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
}

// calls is how often Keep was called.
func (s *Spool) calls() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// empty forgets what was counted and never came to be here, unless Keep was
// called since.
func (s *Spool) empty(calls uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeping == 0 && s.kept == calls {
		clear(s.backlog)
		s.total = 0
	}
}

func (s *Spool) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
