package limiter

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
)

// SubjectState is where limiters are asked how they stand. All of them answer.
const SubjectState = events.PrefixService + "limiter.state"

// Question is what a limiter is asked.
type Question struct {
	Provider string `json:"provider"`
	Forget   bool   `json:"forget,omitempty"` // drop what is known of its limits, then answer
}

// Answer is what one limiter says.
type Answer struct {
	Status    Status     `json:"status"`
	Standings []Standing `json:"standings"`
	Error     string     `json:"error,omitempty"`
}

const (
	answerWait = 2 * time.Second // for the store
	maxAsked   = 16              // questions that wait
)

// Serve answers questions until ctx ends.
func (l *Limiter) Serve(ctx context.Context, conn *nats.Conn, log zerolog.Logger) error {
	questions := make(chan *nats.Msg, maxAsked)
	sub, err := conn.ChanSubscribe(SubjectState, questions)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", SubjectState, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-questions:
			if err := m.Respond(l.answer(ctx, m.Data)); err != nil {
				log.Warn().Err(err).Msg("question about limits not answered")
			}
		}
	}
}

func (l *Limiter) answer(ctx context.Context, question []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	var q Question
	err := json.Unmarshal(question, &q)
	a := Answer{Status: l.Status()}
	if err == nil && q.Forget {
		err = l.Forget(ctx, events.Token(q.Provider))
	}
	if err == nil {
		a.Standings, err = l.Standings(ctx, events.Token(q.Provider))
	}
	if err != nil {
		a.Error = err.Error()
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return []byte(`{"error":"the answer cannot be written"}`)
	}
	return raw
}

// Ask asks all limiters on a bus, and waits until patience is over for the next
// of them to answer.
func Ask(ctx context.Context, conn *nats.Conn, q Question, patience time.Duration) ([]Answer, error) {
	raw, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	inbox := conn.NewRespInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("asking about limits: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := conn.PublishRequest(SubjectState, inbox, raw); err != nil {
		return nil, fmt.Errorf("asking about limits: %w", err)
	}
	var all []Answer
	for len(all) < maxKnown {
		wait, cancel := context.WithTimeout(ctx, patience)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		if err != nil || len(m.Data) == 0 { // nobody is there, or nobody more
			break
		}
		var a Answer
		if json.Unmarshal(m.Data, &a) == nil {
			all = append(all, a)
		}
	}
	return all, ctx.Err()
}
