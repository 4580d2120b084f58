package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// subjectRefusals is answered by every ingress, there is no queue group:
	// each has only seen its own.
	subjectRefusals = events.PrefixService + "ingress.rejected"
	serviceName     = "plugfn-ingress"
	serviceVersion  = "1.0.0"

	maxQuestion    = 4 << 10   // bytes
	maxReply       = 512 << 10 // bytes of refusals in one reply
	maxRefusals    = 1000      // that are asked for at once
	pendingAsks    = 64
	pendingBytes   = 256 << 10
	askPatience    = 2 * time.Second
	repliesSilence = 250 * time.Millisecond // after a reply, no more are waited for
)

// refusalQuestion asks for refused deliveries.
type refusalQuestion struct {
	Provider string `json:"provider,omitempty"` // "": of all
	Limit    int    `json:"limit"`
}

type refusalReply struct {
	Replica  string    `json:"replica"`
	Rejected []Refusal `json:"rejected"`
}

// serveRefusals answers questions about refused deliveries until ctx ends.
func (s *Service) serveRefusals(ctx context.Context) error {
	conn := s.JetStream.Conn()
	service, err := micro.AddService(conn, micro.Config{
		Name: serviceName, Version: serviceVersion, Description: "refused deliveries", QueueGroupDisabled: true,
	})
	if err == nil {
		err = service.AddEndpoint("rejected", micro.HandlerFunc(func(r micro.Request) { s.answerRefusals(service.Info().ID, r) }),
			micro.WithEndpointSubject(subjectRefusals), micro.WithEndpointPendingLimits(pendingAsks, pendingBytes))
	}
	if err != nil {
		return fmt.Errorf("serving %s: %w", subjectRefusals, err)
	}
	<-ctx.Done()
	if err := service.Stop(); err != nil && !conn.IsClosed() {
		return fmt.Errorf("draining %s: %w", subjectRefusals, err)
	}
	return nil
}

func (s *Service) answerRefusals(replica string, request micro.Request) {
	var q refusalQuestion
	if len(request.Data()) > maxQuestion || json.Unmarshal(request.Data(), &q) != nil || q.Limit < 1 || q.Limit > maxRefusals {
		_ = request.Error("400", fmt.Sprintf("want {\"provider\":…,\"limit\":…}, limit from 1 to %d", maxRefusals), nil) // the asker may be gone
		return
	}
	body, err := encodeRefusals(replica, s.refusals.last(q.Provider, q.Limit))
	if err == nil {
		err = request.Respond(body)
	}
	if err != nil {
		s.Log.Debug().Err(err).Msg("question about refused deliveries not answered")
	}
}

// encodeRefusals leaves out the oldest where all would be too much for a reply.
func encodeRefusals(replica string, all []Refusal) ([]byte, error) {
	for {
		body, err := json.Marshal(refusalReply{Replica: replica, Rejected: all})
		if err != nil || len(body) <= maxReply {
			return body, err
		}
		all = all[:len(all)/2]
	}
}

// ErrNobody is what [Refusals] returns when no ingress answers.
var ErrNobody = errors.New("no ingress answers")

// Refusals asks every ingress on the bus for the deliveries that it refused
// last, of one provider or, for "", of all. It returns up to limit of them, the
// newest first; limit is from 1 to 1000. An ingress that does not answer
// within a quarter of a second after another one is left out.
func Refusals(ctx context.Context, conn *nats.Conn, provider string, limit int) ([]Refusal, error) {
	replies, err := askAll(ctx, conn, refusalQuestion{Provider: provider, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("asking for refused deliveries: %w", err)
	}
	var all []Refusal
	for _, reply := range replies {
		for _, r := range reply.Rejected {
			r.Replica = reply.Replica
			all = append(all, r)
		}
	}
	newestFirst(all)
	return all[:min(limit, len(all))], nil
}

// askAll collects the answers of all who listen.
func askAll(ctx context.Context, conn *nats.Conn, question refusalQuestion) ([]refusalReply, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	inbox := conn.NewRespInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone, and the subscription with it
	if err := conn.PublishRequest(subjectRefusals, inbox, body); err != nil {
		return nil, err
	}
	var all []refusalReply
	patience := askPatience
	for {
		msg, err := next(ctx, sub, patience)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && len(all) > 0 && ctx.Err() == nil:
			return all, nil
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return nil, ErrNobody
		case err != nil:
			return nil, err
		}
		if said := msg.Header.Get(micro.ErrorHeader); said != "" {
			return nil, errors.New(said)
		}
		var reply refusalReply
		if err := json.Unmarshal(msg.Data, &reply); err != nil {
			return nil, fmt.Errorf("an answer cannot be read: %w", err)
		}
		all, patience = append(all, reply), repliesSilence
	}
}

func next(ctx context.Context, sub *nats.Subscription, patience time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}
