package events

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// What a subscriber tells the server about a message.
const (
	answerAck      = "+ACK"
	answerNak      = "-NAK"
	answerNakDelay = `-NAK {"delay": %d}` // nanoseconds
	answerProgress = "+WPI"
)

// position tells messages apart, also those of a stream that was deleted and
// made again.
type position struct {
	sequence uint64
	stored   int64 // Unix nanoseconds
}

// held is a message between its arrival and the server's knowledge of its end.
type held struct {
	at         position
	reply      string // where the server listens for its end
	size       int    // bytes
	deliveries uint64
	message    *message.Message
	release    context.CancelFunc // ends the message's context
	handedOut  bool
	answer     string // what the server still has to be told; empty: not known yet
}

// verdict is how a message that was handed out ended.
type verdict struct {
	*held
	how end
}

type end int

const (
	abandoned end = iota
	acked
	nacked
)

// arrive takes in a message, or the server's word about a pull request.
func (s *subscription) arrive(m *nats.Msg) {
	if strings.HasPrefix(m.Subject, s.inbox) {
		s.status(m)
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		s.log.Warn().Err(err).Msg("message without a place in the stream")
		return
	}
	s.stirred = time.Now()
	s.pull.delivered()
	s.last = max(s.last, meta.Sequence.Stream)
	at := position{meta.Sequence.Stream, meta.Timestamp.UnixNano()}
	if h, ok := s.held[at]; ok {
		s.again(h, m, meta)
		return
	}
	h := s.hold(at, m, meta)
	s.held[at] = h
	s.heldSize += h.size
	s.queue = append(s.queue, h)
}

// again deals with a redelivery of what is held, as after a connection was lost
// for longer than AckWait. The handler that has it goes on, once.
func (s *subscription) again(h *held, m *nats.Msg, meta *nats.MsgMetadata) {
	h.reply, h.deliveries = m.Reply, meta.NumDelivered
	switch {
	case h.answer != "":
		s.tell(h)
	case !h.handedOut:
		h.release()
		size := h.size
		*h = *s.hold(h.at, m, meta)
		h.size = size // as counted in heldSize
	}
}

func (s *subscription) hold(at position, m *nats.Msg, meta *nats.MsgMetadata) *held {
	h := &held{at: at, reply: m.Reply, size: m.Size(), deliveries: meta.NumDelivered, message: MessageOf(m)}
	if h.message.UUID == "" {
		h.message.UUID = meta.Stream + ":" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	r := Received{m.Subject, meta.Stream, meta.Sequence.Stream, meta.NumDelivered, meta.Timestamp}
	r.note(h.message.Metadata)
	ctx, release := context.WithCancel(s.handling)
	h.release = release
	h.message.SetContext(ctx)
	return h
}

// next is the message to hand out and the channel for it, nil if there is none
// or no place for it.
func (s *subscription) next() (chan<- *message.Message, *message.Message) {
	if len(s.queue) == 0 || s.running >= s.cfg.MaxInFlight {
		return nil, nil
	}
	return s.out, s.queue[0].message
}

func (s *subscription) handOut() {
	h := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.running++
	h.handedOut = true
	go s.watch(h, h.message)
}

// watch reports how a message ends. It ends with the message or with handling.
func (s *subscription) watch(h *held, m *message.Message) {
	v := verdict{held: h}
	select {
	case <-m.Acked():
		v.how = acked
	case <-m.Nacked():
		v.how = nacked
	case <-s.handling.Done():
	}
	s.verdicts <- v
}

// settle takes a verdict. An abandoned message is left to AckWait: its handler
// has that long to notice the end of its context.
func (s *subscription) settle(v verdict) {
	s.running--
	defer v.release()
	switch v.how {
	case acked:
		v.answer = answerAck
	case nacked:
		v.answer = answerNak
		if delay := s.cfg.NakDelay(v.deliveries); delay > 0 && !s.draining {
			v.answer = fmt.Sprintf(answerNakDelay, delay.Nanoseconds())
		}
	default:
		return
	}
	s.tell(v.held)
}

// tell sends a message's answer and lets go of it. While the connection is lost
// the answer is kept, until a tick finds it back.
func (s *subscription) tell(h *held) {
	if err := s.conn.Publish(h.reply, []byte(h.answer)); err != nil {
		s.log.Debug().Err(err).Uint64("sequence", h.at.sequence).Msg("answer kept")
		s.kept = true
		return
	}
	if h.answer == answerNak {
		s.stirred = time.Now() // it may come back at once
	}
	s.heldSize -= h.size
	delete(s.held, h.at)
}

// giveBack returns what was not handed out, for another subscriber to take.
func (s *subscription) giveBack() {
	for _, h := range s.queue {
		h.release()
		h.answer = answerNak
		s.tell(h)
	}
	s.queue = nil
}

// beat keeps what is held from being redelivered.
func (s *subscription) beat() {
	if !s.conn.IsConnected() {
		return
	}
	s.tellKept()
	for _, h := range s.held {
		if err := s.conn.Publish(h.reply, []byte(answerProgress)); err != nil {
			s.log.Debug().Err(err).Uint64("sequence", h.at.sequence).Msg("progress not reported")
			return
		}
	}
}

// tellKept sends the answers that did not leave.
func (s *subscription) tellKept() {
	if !s.kept {
		return
	}
	s.kept = false
	for _, h := range s.held {
		if h.answer != "" {
			s.tell(h)
		}
	}
}

// resume is the first stream sequence that was not settled here.
func (s *subscription) resume() uint64 {
	next := s.last + 1
	for at := range s.held {
		next = min(next, at.sequence)
	}
	return next
}
