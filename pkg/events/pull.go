package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// pullExpiry is how long a request waits for messages. A replicated consumer
	// writes down each of them, so they should be few; and a client that vanished
	// without a word draws messages for that long.
	pullExpiry    = 10 * time.Second
	pullHeartbeat = 500 * time.Millisecond
	pullTick      = 250 * time.Millisecond
	pullSilence   = 4 // ticks without a word until a request counts as lost

	// maxHeldSize bounds the bodies and headers that one subscription holds.
	// Four of the largest messages fit in any case.
	maxHeldSize = 64 << 20

	lostUntilRecreate = 3 // requests in a row
	maxBackoff        = 10 * time.Second
)

// pull is the state of the one pull request under way.
type pull struct {
	number   uint64 // of requests so far
	reply    string // the request's own reply subject; empty: none is under way
	asked    int    // messages
	left     int    // of them that it may still bring
	silent   int    // ticks since the last word about it
	failures int    // requests in a row that failed
	pause    time.Time
}

// topUp asks for what there is room for, unless a request is under way. If the
// consumer is gone it is made again first.
func (s *subscription) topUp(ctx context.Context) {
	if s.pull.reply != "" || s.creating {
		return
	}
	room, size := s.room()
	switch {
	case room == 0 && !s.gone:
	case !s.conn.IsConnected() || time.Now().Before(s.pull.pause):
	case s.gone:
		s.recreate(ctx)
	default:
		s.request(room, size)
	}
}

// room is how many messages and bytes may be asked for; 0: too few to be worth
// it. What waits to be handed out bridges the time until there are enough.
func (s *subscription) room() (messages, size int) {
	messages = s.cfg.window() - len(s.held)
	largest := int(s.conn.MaxPayload()) + MaxSubject + 1024 // with its subjects
	size = max(maxHeldSize, 4*largest) - s.heldSize
	if messages < max(1, s.cfg.Prefetch/2) || size < largest {
		return 0, 0
	}
	return messages, size
}

func (s *subscription) request(room, size int) {
	body := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`,
		room, size, pullExpiry.Nanoseconds(), pullHeartbeat.Nanoseconds())
	p := &s.pull
	p.number++
	reply := s.inbox + strconv.FormatUint(p.number, 10)
	if err := s.conn.PublishRequest(s.consumer.request, reply, body); err != nil {
		s.log.Debug().Err(err).Msg("pull not sent")
		p.fail()
		return
	}
	p.reply, p.asked, p.left, p.silent = reply, room, room, 0
	s.stirred = time.Now()
}

func (p *pull) delivered() {
	p.silent, p.failures = 0, 0
	if p.left--; p.left <= 0 {
		p.reply = ""
	}
}

// over ends the request as it was meant to end.
func (p *pull) over() {
	p.reply, p.failures = "", 0
}

// fail ends the request and lets the next one wait a little longer than the
// one before.
func (p *pull) fail() {
	p.reply = ""
	p.failures++
	p.pause = time.Now().Add(backoff(p.failures))
}

// status takes the server's word about a request. Words about a request that
// was given up do not matter; messages that it still brings do.
func (s *subscription) status(m *nats.Msg) {
	p := &s.pull
	if m.Subject != p.reply {
		return
	}
	p.silent = 0
	code, reason := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case code == "100": // heartbeat
		p.failures = 0
	case code == "404", code == "408": // no messages, or time is up
		p.over()
	case code == "503", code == "400", strings.EqualFold(reason, "Consumer Deleted"):
		s.lose(fmt.Errorf("pulling was answered %s %s", code, reason))
	case p.left < p.asked: // full by size
		p.over()
	default: // no leader for the moment, shutting down, …
		s.log.Warn().Str("status", code).Str("reason", reason).Msg("pull refused")
		p.fail()
	}
}

// tick catches up after a lost connection, and notices a request that the server
// does not know any more: it would answer or send heartbeats otherwise.
func (s *subscription) tick() {
	p := &s.pull
	if s.severed = s.conn.IsClosed(); s.severed {
		s.log.Error().Msg("connection closed")
	}
	if !s.conn.IsConnected() { // the request may be lost; try at once when it is back
		p.over()
		p.pause = time.Time{}
		return
	}
	s.tellKept()
	p.silent++
	if p.reply == "" || p.silent < pullSilence {
		return
	}
	if p.failures+1 >= lostUntilRecreate {
		s.lose(errors.New("pulling is not answered"))
		return
	}
	p.fail()
}

// lose notes that there is no consumer to pull from.
func (s *subscription) lose(err error) {
	s.gone = true
	s.pull.fail()
	s.log.Warn().Err(err).Int("failures", s.pull.failures).Msg("consumer lost")
}

// recreate has little patience at first: the answer may have been lost together
// with a connection that is already back.
func (s *subscription) recreate(ctx context.Context) {
	s.creating = true
	next := s.resume()
	ctx, cancel := context.WithTimeout(ctx, min(maxBackoff, time.Duration(1+s.pull.failures)*time.Second))
	go func() {
		defer cancel()
		s.created <- s.consumer.create(ctx, next)
	}()
}

func (s *subscription) recreated(err error) {
	s.creating = false
	if err != nil {
		s.lose(err)
		return
	}
	s.gone = false
	if !s.born.Equal(s.consumer.born) {
		s.born, s.last = s.consumer.born, s.consumer.start
	}
	s.log.Info().Uint64("last", s.last).Msg("consumer back")
}

// backoff is how long to wait after failures in a row, with a quarter of jitter.
func backoff(failures int) time.Duration {
	d := min(maxBackoff, pullTick<<min(failures-1, 16))
	return d - rand.N(d/4) //nolint:gosec // jitter is no secret
}
