package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// signalMessage is the body of a message that says what happens to a run: that it
// is to be started, or a signal for the machine.
type signalMessage struct {
	User     string          `json:"user"`
	Workflow string          `json:"workflow"`
	Run      string          `json:"run"`
	Start    *start          `json:"start,omitempty"`
	Signal   *machine.Signal `json:"signal,omitempty"`
}

func (m *signalMessage) subject() string { return events.RunSignalSubject(m.User, m.Workflow) }

func (m *signalMessage) encode() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a signal of run %s: %w", m.Run, err)
	}
	return body, nil
}

// event is the form in which a signal travels.
func (m *signalMessage) event() (*nats.Msg, error) {
	body, err := m.encode()
	if err != nil {
		return nil, err
	}
	e := events.Event{
		ID: m.Run, Source: "/plugfn/scheduler", Type: "dev.plugfn.run.signal", Subject: m.Workflow + "/" + m.Run,
		DataContentType: "application/json", UserID: m.User, Data: body,
	}
	return e.Msg(m.subject()), nil
}

// message makes the message of a signal; one that is too long for it has its body
// elsewhere.
func (s *Service) message(ctx context.Context, m *signalMessage) (*nats.Msg, error) {
	msg, err := m.event()
	if err != nil {
		return nil, err
	}
	return s.payloads.Offload(ctx, msg)
}

// send stores a signal. The same id, unless it is "", within a quarter of an hour
// stores it once.
func (s *Service) send(ctx context.Context, m *signalMessage, id string) error {
	msg, err := s.message(ctx, m)
	if err != nil {
		return err
	}
	if id != "" {
		msg.Header.Set(jetstream.MsgIDHeader, id)
	}
	if _, err := s.JetStream.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamRuns)); err != nil {
		return fmt.Errorf("storing a signal of run %s: %w", m.Run, err)
	}
	return nil
}

// StartMessage makes the message, for [events.StreamRuns], that has a run of a
// workflow of a user started: one for each id of the kind of cause. What
// expressions see as event and as input may be nil.
func StartMessage(user, workflow string, c Cause, event, input json.RawMessage) (*nats.Msg, error) {
	m := signalMessage{User: user, Workflow: workflow, Run: derivedID(user, workflow, c), Start: &start{Cause: c, Event: event, Input: input}}
	return m.event()
}

// onSignal is the Watermill handler of what happens to runs.
func (s *Service) onSignal(msg *message.Message) error {
	ctx, cancel := context.WithTimeout(msg.Context(), handleTimeout)
	defer cancel()
	received, err := events.ReceivedOf(msg)
	if err != nil {
		return err
	}
	m, err := s.readSignal(ctx, received.Subject, events.HeaderOf(msg), msg.Payload)
	switch {
	case errors.Is(err, errMalformed):
		s.Log.Warn().Err(err).Uint64("sequence", received.Sequence).Msg("signal of a run unreadable")
		return nil
	case err != nil:
		return s.again("signal", err)
	}
	if m.Start != nil {
		if m.Start.Place == 0 {
			m.Start.Place = uint64(received.Time.UnixNano())
		}
		return s.again("start", s.startStored(ctx, m))
	}
	key, _ := keyOf(m.User, m.Run)
	if m.Signal.Kind == machine.Timer && m.Signal.ID == keepID {
		return s.again("keep", s.keepOn(ctx, key))
	}
	_, err = s.give(ctx, key, *m.Signal)
	if errors.Is(err, errNone) {
		if m.Signal.Kind == machine.Cancel && received.Deliveries < lateStarts {
			return fmt.Errorf("run %s: %w", m.Run, errNone) // its start may be behind it
		}
		return nil
	}
	return s.again("signal", err)
}

// lateStarts is how often a signal that came before its run is looked at.
const lateStarts = 8

// again logs why a message has to be delivered again.
func (s *Service) again(what string, err error) error {
	if err != nil {
		s.Log.Warn().Err(err).Str("what", what).Msg("run not carried on, trying again")
	}
	return err
}

var errMalformed = errors.New("malformed")

func (s *Service) readSignal(ctx context.Context, subject string, header nats.Header, body []byte) (*signalMessage, error) {
	if events.HeaderValue(header, "ce-dataref") != "" {
		e, err := events.ParseEvent(header, body)
		if err != nil {
			return nil, errors.Join(errMalformed, err)
		}
		if err := s.payloads.Resolve(ctx, &e, 2*machine.MaxValue); err != nil {
			if errors.Is(err, events.ErrPayloadGone) {
				err = errors.Join(errMalformed, err)
			}
			return nil, err
		}
		body = e.Data
	}
	m := &signalMessage{}
	if err := json.Unmarshal(body, m); err != nil {
		return nil, errors.Join(errMalformed, err)
	}
	if _, ok := keyOf(m.User, m.Run); !ok || m.subject() != subject || (m.Start == nil) == (m.Signal == nil) {
		return nil, fmt.Errorf("%w: it is of another subject, or says nothing", errMalformed)
	}
	return m, nil
}

// onResult is the Watermill handler of results of actions.
func (s *Service) onResult(msg *message.Message) error {
	subject := msg.Metadata.Get(events.MetaSubject)
	request := subject[strings.LastIndexByte(subject, '.')+1:]
	run, ok := runOf(request)
	if !ok {
		return nil // somebody else's
	}
	user, _, _ := strings.Cut(strings.TrimPrefix(subject, events.PrefixResult), ".")
	key, ok := keyAt(user, run)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(msg.Context(), handleTimeout)
	defer cancel()
	ctx = s.Tracer.Carry(ctx, events.HeaderValue(events.HeaderOf(msg), events.AttributeTraceParent))
	return s.again("result", s.resulted(ctx, key, request, msg.Payload))
}

// resulted gives a run the result of one of its actions.
func (s *Service) resulted(ctx context.Context, key, request string, body []byte) error {
	result, err := events.ParseResult(body)
	if err != nil {
		s.Log.Warn().Err(err).Str("request", request).Msg("result of a run unreadable")
		return nil
	}
	defer s.locks.take(key)()
	effect, err := s.waitingFor(ctx, key, request)
	if err != nil || effect == "" {
		return err
	}
	sig, err := s.resultSignal(ctx, effect, &result)
	if err != nil {
		return err
	}
	_, err = s.giveAll(ctx, key, []machine.Signal{sig})
	return err
}

// waitingFor is the effect of a run that a request is of; "" where nothing waits
// for it any more.
func (s *Service) waitingFor(ctx context.Context, key, request string) (string, error) {
	h, err := s.store.get(ctx, key, false)
	if err == nil && !h.fresh && h.waiting(request) == "" {
		h, err = s.store.get(ctx, key, true)
	}
	if errors.Is(err, errNone) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	effect := h.waiting(request)
	if effect == "" && !h.settled {
		// Whoever took the result may have ended before he went on.
		_, err = s.giveAll(ctx, key, []machine.Signal{nudge()})
	}
	return effect, err
}

func (s *Service) resultSignal(ctx context.Context, effect string, r *events.Result) (machine.Signal, error) {
	sig := machine.Signal{Kind: machine.Result, ID: effect}
	if r.Outcome != events.Succeeded {
		sig.Error = &machine.Failure{Code: string(events.CodeOutcomeUnknown), Message: "the outcome of the action is unknown"}
		if r.Error != nil {
			sig.Error = &machine.Failure{Code: string(r.Error.Code), Message: r.Error.Message}
		}
		return sig, nil
	}
	if r.DataRef != nil && r.DataRef.Size > machine.MaxValue {
		sig.Error = &machine.Failure{Code: machine.CodeTooLarge, Message: "the result is too long for a workflow"}
		return sig, nil
	}
	err := s.payloads.ResolveResult(ctx, r, machine.MaxValue)
	if errors.Is(err, events.ErrPayloadGone) {
		sig.Error = &machine.Failure{Code: string(events.CodeInternal), Message: "the data of the result is not stored any more"}
		return sig, nil
	}
	sig.Data = r.Data
	return sig, err
}
