package events

import (
	"context"
	"time"
)

// tripTimeout bounds each of the last round trips to the server.
const tripTimeout = 2 * time.Second

// drain ends the deliveries, gives back what was not handed out, waits for what
// was, and brings the last answers to the server.
func (s *subscription) drain(beats <-chan time.Time) {
	if s.creating { // its context has ended
		s.recreated(<-s.created)
	}
	s.stopPulling(beats)
	s.giveBack()
	s.awaitHandlers(beats)
	if len(s.held) > 0 {
		s.log.Warn().Int("messages", len(s.held)).Msg("messages left to redelivery")
	}
	s.trip(beats, s.conn.FlushWithContext)
	s.trip(beats, s.consumer.discard)
}

// stopPulling returns when no more messages come.
//
// Messages that are on their way when the interest in them ends are lost until
// AckWait has passed. So the request under way may first bring what it brings
// at once. Then the server is asked about the consumer: it forgets a request
// without interest only when it looks at it, and would do so over the first
// message that is given back, which would lose its place in the order by that.
func (s *subscription) stopPulling(beats <-chan time.Time) {
	for left := -1; s.pull.reply != "" && s.pull.left != left; {
		left = s.pull.left
		s.trip(beats, s.conn.FlushWithContext)
	}
	s.pull.reply = ""
	if err := s.interest.Unsubscribe(); err != nil {
		s.log.Debug().Err(err).Msg("inbox not closed")
	}
	s.trip(beats, s.consumer.look)
}

// trip makes one round trip to the server, while the handlers go on.
func (s *subscription) trip(beats <-chan time.Time, call func(context.Context) error) {
	if !s.conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tripTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	for {
		select {
		case m := <-s.arrivals:
			s.arrive(m)
		case v := <-s.verdicts:
			s.settle(v)
		case <-beats:
			s.beat()
		case err := <-done:
			if err != nil {
				s.log.Warn().Err(err).Msg("server not reached while closing")
			}
			for len(s.arrivals) > 0 {
				s.arrive(<-s.arrivals)
			}
			return
		}
	}
}

func (s *subscription) awaitHandlers(beats <-chan time.Time) {
	timeout := time.NewTimer(s.cfg.CloseTimeout)
	defer timeout.Stop()
	for s.running > 0 {
		select {
		case v := <-s.verdicts:
			s.settle(v)
		case <-beats:
			s.beat()
		case <-timeout.C:
			s.log.Warn().Int("running", s.running).Msg("handlers abandoned")
			s.abandon()
		}
	}
}
