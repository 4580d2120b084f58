package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	eventPatience = 2 * time.Second // for the event of a delivery that was accepted
	maxWatched    = 4096            // events that may wait to be looked at
)

// sender sends deliveries to the ingress and watches for their events.
type sender struct {
	base   string
	http   *http.Client
	pack   *providers.Pack
	signer *providers.Signer
	path   string     // of the endpoint; "": as the delivery has it
	conn   *nats.Conn // nil: the bus cannot be reached
	seen   chan *nats.Msg
}

// newSender makes ready to send. Without a bus it sends all the same and sees
// no events. Whoever calls it closes the sender.
func newSender(t *target, pack *providers.Pack, signer *providers.Signer) (*sender, error) {
	var err error
	s := &sender{base: t.httpURL(), http: &http.Client{Timeout: answerTimeout}, pack: pack, signer: signer, seen: make(chan *nats.Msg, maxWatched)}
	if s.conn, err = t.connect(); err != nil {
		return s, nil //nolint:nilerr // told with each delivery, see watch
	}
	_, err = s.conn.ChanSubscribe(events.PrefixEvent+"*."+events.Token(pack.Name)+".>", s.seen)
	if err == nil {
		err = s.conn.Flush()
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("listening for events: %w", err)
	}
	return s, nil
}

func (s *sender) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// sentDelivery is what came of one delivery.
type sentDelivery struct {
	Path         string   `json:"path"`
	Status       int      `json:"status"`
	Milliseconds int64    `json:"ms"`
	Delivery     string   `json:"delivery,omitempty"` // "": a handshake
	Events       []string `json:"events"`             // the subjects
	Remark       string   `json:"remark,omitempty"`
}

// send sends d under a new delivery id. A refusal is an error.
func (s *sender) send(ctx context.Context, d *providers.Delivery, newID string) (sentDelivery, error) {
	sent := sentDelivery{Path: firstOf(s.path, d.URL.RequestURI()), Events: []string{}}
	silent, err := s.silent(d)
	if err != nil {
		return sent, err
	}
	if silent == "" {
		if err := s.pack.Webhooks.NewDeliveryID(d, newID); err != nil {
			sent.Remark = err.Error()
		}
		if sent.Delivery, err = s.deliveryID(d); err != nil {
			return sent, err
		}
	}
	if d.Method == http.MethodPost {
		if err := s.signer.Sign(d, s.base+firstOf(s.path, d.URL.Path)); err != nil {
			return sent, err
		}
	}
	began := time.Now()
	if sent.Status, err = s.post(ctx, d); err != nil {
		return sent, err
	}
	sent.Milliseconds = time.Since(began).Milliseconds()
	if silent != "" {
		sent.Remark = silent
		return sent, nil
	}
	if sent.Events, err = s.watch(ctx, sent.Delivery); err != nil {
		sent.Remark = firstOf(sent.Remark, err.Error())
	}
	return sent, ctx.Err()
}

// silent says why d makes no event; "": it makes one.
func (s *sender) silent(d *providers.Delivery) (string, error) {
	const handshake = "a handshake: it makes no event"
	if d.Method != http.MethodPost {
		return handshake, nil // deliveries are posted
	}
	reading, err := s.pack.Webhooks.Read(d)
	if err != nil {
		return "", usage("", "%s cannot read this delivery: %v", s.pack.Name, err)
	}
	if reading.IsHandshake() {
		return handshake, nil
	}
	if found, err := reading.Events(); err == nil && len(found) == 0 {
		return "an empty batch: it makes no event", nil
	}
	return "", nil
}

// deliveryID is the id that the event of d will have.
func (s *sender) deliveryID(d *providers.Delivery) (string, error) {
	reading, err := s.pack.Webhooks.Read(d)
	if err != nil {
		return "", err
	}
	n, err := reading.Event()
	if err != nil {
		return "", usage("", "%s finds no event in this delivery: %v", s.pack.Name, err)
	}
	return n.ID, nil
}

func (s *sender) post(ctx context.Context, d *providers.Delivery) (int, error) {
	r, err := http.NewRequestWithContext(ctx, d.Method, s.base+firstOf(s.path, d.URL.RequestURI()), bytes.NewReader(d.Body))
	if err != nil {
		return 0, fmt.Errorf("making the request: %w", err)
	}
	r.Header = d.Header
	answer, err := s.http.Do(r)
	if err != nil {
		return 0, unreachable(s.base, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode < http.StatusMultipleChoices {
		return answer.StatusCode, nil
	}
	f := &failure{
		exit: exitOfStatus(answer.StatusCode), status: answer.StatusCode,
		what: fmt.Sprintf("ingress refused the delivery: %d %s", answer.StatusCode, http.StatusText(answer.StatusCode)),
	}
	if answer.StatusCode == http.StatusUnauthorized {
		f.fix = "sign with the secret that the server has; its log says what was wrong"
	}
	return 0, f
}

// watch returns the subjects of the delivery's events. The answer of the
// ingress says that they are stored, so they have been sent to everybody who
// listens: one round trip later they are here.
func (s *sender) watch(ctx context.Context, delivery string) ([]string, error) {
	subjects := []string{}
	if s.conn == nil {
		return subjects, errors.New("the bus cannot be reached, so its events are not shown")
	}
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	if err := s.conn.FlushWithContext(ctx); err != nil {
		return subjects, fmt.Errorf("waiting for the event: %w", err)
	}
	for {
		select {
		case msg := <-s.seen:
			if e, err := events.ParseEvent(msg.Header, msg.Data); err == nil && e.ID == delivery {
				subjects = append(subjects, msg.Subject)
			}
			if len(subjects) > 0 && len(s.seen) == 0 {
				return subjects, nil
			}
		case <-ctx.Done():
			return subjects, fmt.Errorf("no event of it within %s", eventPatience)
		}
	}
}
