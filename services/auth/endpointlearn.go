package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// ticket makes a curve key pair for a secret that a handshake will bring. The
// private part travels along, encrypted, so that any process of this service can
// open what was sealed to the public one.
func (e *endpoints) ticket(r *endpointRecord) (public string, ticket []byte, err error) {
	pair, public, err := newCurveKey()
	if err != nil {
		return "", nil, err
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return "", nil, fmt.Errorf("making a curve key: %w", err)
	}
	defer clear(seed)
	ticket, err = e.keys.sealAt(seed, r.place(fieldEndpointTrust))
	return public, ticket, err
}

// learnedRequest brings a secret that the handshake of a pending endpoint had.
type learnedRequest struct {
	Key    string `json:"key"`
	Ticket []byte `json:"ticket"` // as it was handed out
	Sender string `json:"sender"` // public curve key of the ingress
	Sealed []byte `json:"sealed"` // a learnedSecret, for the key of the ticket
}

// learnedSecret is what is sealed.
type learnedSecret struct {
	Key    string `json:"key"`
	Secret []byte `json:"secret"`
}

// learned answers a learnedRequest. When it has, the secret is stored and the
// endpoint active. An endpoint that has one already keeps it: only the
// same secret, said again, is a success.
func (e *endpoints) learned(ctx context.Context, data []byte) (any, error) {
	var request learnedRequest
	if len(data) > maxEndpointsRequest || json.Unmarshal(data, &request) != nil || len(request.Key) > maxEndpointKey {
		return nil, events.Errorf(events.CodeInvalidParams, "a learned secret comes as a JSON object of at most %d bytes", maxEndpointsRequest)
	}
	entry, err := e.kv.Get(ctx, request.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	r, err := decodeEndpoint(entry.Key(), entry.Value())
	if err != nil {
		return nil, err
	}
	secret, err := e.unsealLearned(&r, &request)
	if err != nil {
		return nil, err
	}
	if !r.takesSecret() {
		return endpointsReply{}, e.isKnown(&r, secret)
	}
	pack, ok := e.providers.Pack(r.Provider)
	if !ok || pack.Webhooks == nil {
		return nil, unknownProvider(e.providers, r.Provider)
	}
	w, err := webhooksOf(e.providers, pack, r.Webhooks)
	if err != nil {
		return nil, err
	}
	if err := checkSecret("secret", secret, false); err != nil {
		return nil, err
	}
	if err := w.CheckSecret(secret); err != nil {
		return nil, invalid("secret", "%v", err)
	}
	if err := e.addSecret(&r, secret, true); err != nil {
		return nil, err
	}
	r.State, r.UpdatedAt = endpoint.Active, e.now().UTC()
	if err := e.write(ctx, &r, entry.Revision()); err != nil {
		return nil, err // also when another handshake was faster: the sender tries again
	}
	e.note(ctx, &r, auditEndpointLearned)
	return endpointsReply{}, nil
}

func (e *endpoints) unsealLearned(r *endpointRecord, request *learnedRequest) (providers.Secret, error) {
	seed, err := e.keys.openAt(request.Ticket, r.place(fieldEndpointTrust))
	if err != nil {
		return providers.Secret{}, invalid("ticket", "is not one of this endpoint")
	}
	defer clear(seed)
	pair, err := nkeys.FromCurveSeed(seed)
	if err != nil {
		return providers.Secret{}, invalid("ticket", "is not one of this endpoint")
	}
	defer pair.Wipe()
	if len(request.Sender) != curveKeySize || !nkeys.IsValidPublicCurveKey(request.Sender) {
		return providers.Secret{}, invalid("sender", "must be a public curve key (X…)")
	}
	plain, err := pair.Open(request.Sealed, request.Sender)
	if err != nil {
		return providers.Secret{}, invalid("sealed", "is not sealed to the ticket")
	}
	defer clear(plain)
	var s learnedSecret
	if err := json.Unmarshal(plain, &s); err != nil || s.Key != request.Key {
		return providers.Secret{}, invalid("sealed", "is about another endpoint")
	}
	defer clear(s.Secret)
	return providers.NewSecret(s.Secret), nil
}

// isKnown is an error unless the endpoint has that secret.
func (e *endpoints) isKnown(r *endpointRecord, secret providers.Secret) error {
	for _, s := range r.Secrets {
		plain, err := e.keys.openAt(s.Credential, r.placeOfSecret(&s))
		if err != nil {
			continue
		}
		same := providers.NewSecret(plain).Equal(secret)
		clear(plain)
		if same && r.State == endpoint.Active {
			return nil
		}
	}
	return events.Errorf(events.CodeCanceled, "endpoint %s is %s: it takes no secret from a handshake", r.ID, r.State)
}

// seenRequest says at which endpoints genuine deliveries came.
type seenRequest struct {
	Seen []sighting `json:"seen"`
}

type sighting struct {
	Key string    `json:"key"`
	At  time.Time `json:"at"`
}

// seen answers a seenRequest: the deliveries are noted, and endpoints that
// waited for the first one are active from now on.
func (e *endpoints) seen(ctx context.Context, data []byte) (any, error) {
	var request seenRequest
	if len(data) > maxEndpointsRequest || json.Unmarshal(data, &request) != nil || len(request.Seen) > maxEndpointsAsked {
		return nil, events.Errorf(events.CodeInvalidParams, "deliveries seen come as a JSON object of at most %d bytes", maxEndpointsRequest)
	}
	var failed error
	for _, s := range request.Seen {
		entry, err := e.kv.Get(ctx, s.Key)
		if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
			continue // deleted since
		}
		if err != nil {
			return nil, fmt.Errorf("reading the endpoint: %w", err)
		}
		r, err := decodeEndpoint(entry.Key(), entry.Value())
		if err != nil {
			continue // it could not have been seen
		}
		failed = errors.Join(failed, e.activate(ctx, &r, entry.Revision()))
		noted := newEntry(ctx, "endpoint_"+auditDelivered, s.At, r.owner())
		noted.Actor = "ingress"
		e.audit.note(ctx, noted)
	}
	return endpointsReply{}, failed
}

func (e *endpoints) activate(ctx context.Context, r *endpointRecord, revision uint64) error {
	if r.State != endpoint.Pending || len(r.Secrets) == 0 {
		return nil
	}
	r.State, r.UpdatedAt = endpoint.Active, e.now().UTC()
	return e.write(ctx, r, revision)
}
