package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// heard is an event as it was stored. What runs see of it is made when one wants
// it.
type heard struct {
	user, provider, name string // tokens of the subject, and the name
	sequence             uint64
	at                   time.Time
	event                events.Event
	json                 json.RawMessage // as expressions see it; nil: not made yet
	value                any
}

// onEvent is the Watermill handler of events.
func (s *Service) onEvent(msg *message.Message) error {
	ctx, cancel := context.WithTimeout(msg.Context(), handleTimeout)
	defer cancel()
	received, err := events.ReceivedOf(msg)
	if err != nil {
		return err
	}
	h := &heard{sequence: received.Sequence, at: received.Time}
	var ok bool
	if h.user, h.provider, h.name, ok = eventTokens(received.Subject); !ok || h.user == events.NoUser {
		return nil
	}
	if h.event, err = events.ParseEvent(events.HeaderOf(msg), msg.Payload); err != nil {
		return nil // no event of PlugFn's
	}
	if h.event.UserID == "" || events.Token(h.event.UserID) != h.user {
		var known bool
		if h.event.UserID, known = events.Untoken(h.user); !known {
			return nil
		}
	}
	if h.event.EventName != "" && events.Name(h.event.EventName) == h.name {
		h.name = h.event.EventName
	}
	return s.again("event", s.hear(s.Tracer.Carry(ctx, h.event.TraceParent), h))
}

func eventTokens(subject string) (user, provider, name string, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(subject, events.PrefixEvent), ".", 3)
	if len(parts) != 3 {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// hear gives an event to who waits for it, and starts what it triggers.
func (s *Service) hear(ctx context.Context, h *heard) error {
	waiting, err := s.waits.forEvent(ctx, h.user, h.provider, h.name, h.sequence)
	if err != nil {
		return err
	}
	started, err := s.Definitions.OnEvent(ctx, h.event.UserID, h.provider, h.name)
	if err != nil {
		return fmt.Errorf("looking for workflows: %w", err)
	}
	if len(waiting)+len(started) == 0 {
		return nil
	}
	if err := s.see(ctx, h); err != nil {
		if errors.Is(err, events.ErrPayloadGone) {
			s.Log.Warn().Err(err).Uint64("sequence", h.sequence).Msg("event without its data starts nothing")
			return nil
		}
		return err
	}
	var faults []error
	for _, w := range waiting {
		faults = append(faults, s.giveEvent(ctx, w, h))
	}
	for _, w := range started {
		faults = append(faults, s.startOn(ctx, w, h))
	}
	return errors.Join(faults...)
}

// see makes what expressions see of an event.
func (s *Service) see(ctx context.Context, h *heard) error {
	if h.json != nil {
		return nil
	}
	if err := s.payloads.Resolve(ctx, &h.event, machine.MaxValue); err != nil {
		return err
	}
	e := &h.event
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(map[string]any{
		"id": e.ID, "type": e.Type, "source": e.Source, "subject": e.Subject, "time": e.Time.UTC().Format(time.RFC3339Nano),
		"provider": h.provider, "name": h.name, "connection": e.ConnectionID, "account": e.Account, "data": eventData(e.Data),
	})
	if err != nil {
		return fmt.Errorf("reading event %s: %w", e.ID, err)
	}
	h.json = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return nil
}

// eventData is JSON as it came, or else a text.
func eventData(data []byte) any {
	switch {
	case len(data) == 0:
		return nil
	case json.Valid(data):
		return json.RawMessage(data)
	case utf8.Valid(data):
		return string(data)
	default:
		return nil
	}
}

// giveEvent gives an event to a run that waits for such, unless it does not any
// more.
func (s *Service) giveEvent(ctx context.Context, w wait, h *heard) error {
	key, _ := keyOf(w.User, w.Run)
	r, err := s.give(ctx, key, machine.Signal{Kind: machine.Event, ID: w.ID, Data: h.json})
	if err == nil && r.isWaiting(w.ID) {
		return nil
	}
	if err == nil || errors.Is(err, errNone) {
		s.releases.want(release{user: w.User, run: w.Run, id: w.ID})
		return nil
	}
	return err
}

// isWaiting reports whether a step of the run still waits under an id.
func (r *record) isWaiting(id string) bool {
	key, _, _ := strings.Cut(id, "~")
	e := r.State.Steps[key]
	return e != nil && e.Status == machine.Waiting && machine.EffectID(key, e) == id
}

// startOn starts a run of a workflow for an event, if that is what it wants.
func (s *Service) startOn(ctx context.Context, w Workflow, h *heard) error {
	trigger := w.Program.Definition.Trigger.Event
	if trigger == nil || trigger.Connection != "" && trigger.Connection != h.event.ConnectionID {
		return nil
	}
	if w.Program.Filter != nil {
		if h.value == nil {
			v, err := decodeValue(h.json)
			if err != nil {
				s.Log.Info().Err(err).Uint64("sequence", h.sequence).Msg("event that expressions cannot read")
				return nil
			}
			h.value = v
		}
		yes, err := w.Program.Filter.Holds(workflow.Values{"event": h.value, "now": s.Now()})
		if err != nil {
			s.Log.Info().Err(err).Str("workflow", w.Name).Uint64("sequence", h.sequence).Msg("filter of a trigger not evaluated: it does not hold")
			return nil
		}
		if !yes {
			return nil
		}
	}
	if c := w.Program.Definition.Concurrency; c != nil && c.Order {
		if err := s.afterEarlier(ctx, h); err != nil {
			return err
		}
	}
	cause := Cause{Kind: ByEvent, ID: h.event.ID, Source: h.event.Source}
	m := &signalMessage{User: h.event.UserID, Workflow: w.Name, Run: derivedID(h.event.UserID, w.Name, cause), Start: &start{
		Cause: cause, Trace: h.event.TraceParent, Event: h.json, Seen: h.sequence, Place: uint64(h.at.UnixNano()),
	}}
	depth, err := s.depthOf(ctx, h)
	if err != nil {
		return err
	}
	m.Start.Depth = depth
	_, err = s.start(ctx, w, m, false)
	refused := (*refusal)(nil)
	if errors.As(err, &refused) {
		s.Log.Warn().Str("workflow", w.Name).Str("run", m.Run).Str("why", refused.why).Msg("run not started")
		return s.buryStart(ctx, m, refused)
	}
	return err
}

// depthOf is how many runs led to an event: one more than of the run that it says
// it was caused by.
func (s *Service) depthOf(ctx context.Context, h *heard) (int, error) {
	run, ok := runOf(h.event.CausationID)
	if !ok {
		run = h.event.CausationID
	}
	key, ok := keyOf(h.event.UserID, run)
	if !ok {
		return 0, nil
	}
	cause, err := s.store.get(ctx, key, false)
	if errors.Is(err, errNone) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	return cause.Depth + 1, nil
}

// earlierPatience is how often it is asked whether earlier events are dealt with,
// with a pause between.
const (
	earlierPause    = 2 * time.Millisecond
	earlierPatience = 20 * time.Second
)

// afterEarlier waits until all events before one are dealt with, by whichever
// scheduler: runs that keep an order are started in that of their events.
func (s *Service) afterEarlier(ctx context.Context, h *heard) error {
	ctx, cancel := context.WithTimeout(ctx, earlierPatience)
	defer cancel()
	for pause := earlierPause; ; pause = min(2*pause, 100*time.Millisecond) {
		consumer, err := s.JetStream.Consumer(ctx, events.StreamEvents, "runs-events")
		if err != nil {
			return fmt.Errorf("looking for earlier events: %w", err)
		}
		floor := consumer.CachedInfo().AckFloor.Stream
		if floor+1 >= h.sequence {
			return nil
		}
		next, err := s.store.ask(ctx, events.StreamEvents, messageRequest{Sequence: floor + 1, NextFor: events.PrefixEvent + ">"})
		if err != nil && !errors.Is(err, errNone) {
			return fmt.Errorf("looking for earlier events: %w", err)
		}
		if err != nil || next.sequence >= h.sequence {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("earlier events are not dealt with yet: %w", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// maxLooks is how many earlier events are looked at for one wait.
const maxLooks = 10_000

// since are the events that came before a wait was stored, and after its run
// began.
func (s *Service) since(ctx context.Context, w wait) ([]machine.Signal, error) {
	var all []machine.Signal
	for _, name := range w.Events {
		sequence := w.Seen + 1
		for range maxLooks {
			m, err := s.store.ask(ctx, events.StreamEvents, messageRequest{Sequence: sequence, NextFor: eventFilter(w, name)})
			if errors.Is(err, errNone) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("looking for events that run %s waits for: %w", w.Run, err)
			}
			sequence = m.sequence + 1
			h := &heard{sequence: m.sequence, at: m.time}
			var ok bool
			if h.user, h.provider, h.name, ok = eventTokens(m.Subject); !ok {
				continue
			}
			if h.event, err = events.ParseEvent(m.Header, m.Data); err != nil {
				continue
			}
			if h.event.EventName != "" && events.Name(h.event.EventName) == h.name {
				h.name = h.event.EventName
			}
			if err := s.see(ctx, h); err != nil {
				if errors.Is(err, events.ErrPayloadGone) {
					continue
				}
				return nil, err
			}
			all = append(all, machine.Signal{Kind: machine.Event, ID: w.ID, Data: h.json})
		}
	}
	return all, nil
}

// eventFilter is the subject of events of a name, which may end in *.
func eventFilter(w wait, name string) string {
	prefix := events.PrefixEvent + events.Token(w.User) + "." + events.Token(w.Provider) + "."
	if name == "*" {
		return prefix + ">"
	}
	if above, ok := strings.CutSuffix(name, ".*"); ok {
		return prefix + events.Name(above) + ".>"
	}
	return prefix + events.Name(name)
}
