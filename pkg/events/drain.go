package events

import (
	"context"
	"time"
)

const (
	farewell = 2 * time.Second        // bounds each of the last round trips to the server
	quiet    = 100 * time.Millisecond // without a message: none is on its way
)

// drain ends the deliveries, gives back what was not handed out, waits for what
// was, and brings the last answers to the server.
func (s *subscription) drain(beats <-chan time.Time) {
	if s.creating { // with a context that has ended, or without a connection
		err := <-s.created
		s.log.Debug().Err(err).Msg("consumer not awaited")
	}
	s.stopPulling(beats)
	s.draining = true // what is nacked now need not rest: it comes to somebody else
	s.giveBack()
	s.awaitHandlers(beats)
	if len(s.held) > 0 {
		s.log.Warn().Int("messages", len(s.held)).Msg("messages left to redelivery")
	}
	s.trip(s.conn.FlushWithContext)
	s.trip(s.consumer.discard)
}

// stopPulling returns when no more messages come.
//
// A message that is on its way when the interest in it ends is lost until
// AckWait has passed, and no request can be taken back. So the one under way may
// first bring what it brings by itself, and what it brings is not given back
// before its end, as it would come here again.
//
// The server forgets a request without interest only when it comes across it.
// Asked about the consumer, it does so now; otherwise the first message that is
// given back would meet that request and lose its place in the order.
func (s *subscription) stopPulling(beats <-chan time.Time) {
	underWay := func() bool { return s.pull.reply != "" }
	if !s.consumer.ephemeral() {
		for end := time.Now().Add(farewell); underWay() && s.conn.IsConnected() && time.Now().Before(end); {
			rest := quiet - time.Since(s.stirred)
			if rest <= 0 {
				break
			}
			s.serve(beats, rest, underWay)
		}
	}
	if err := s.interest.Unsubscribe(); err != nil {
		s.log.Debug().Err(err).Msg("inbox not closed")
	}
	if underWay() && !s.consumer.ephemeral() {
		s.trip(s.consumer.look)
	}
	for len(s.arrivals) > 0 {
		s.arrive(<-s.arrivals)
	}
}

func (s *subscription) awaitHandlers(beats <-chan time.Time) {
	s.serve(beats, s.cfg.CloseTimeout, func() bool { return s.running > 0 })
	if s.running == 0 {
		return
	}
	s.log.Warn().Int("running", s.running).Msg("handlers abandoned")
	for s.abandon(); s.running > 0; {
		s.settle(<-s.verdicts)
	}
}

// serve goes on with what is held as long as more says so, at most for limit.
func (s *subscription) serve(beats <-chan time.Time, limit time.Duration, more func() bool) {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for more() {
		select {
		case m := <-s.arrivals:
			s.arrive(m)
		case v := <-s.verdicts:
			s.settle(v)
		case <-beats:
			s.beat()
		case <-timeout.C:
			return
		}
	}
}

// trip makes one of the last round trips to the server.
func (s *subscription) trip(call func(context.Context) error) {
	if !s.conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if err := call(ctx); err != nil {
		s.log.Warn().Err(err).Msg("server not reached while closing")
	}
}
