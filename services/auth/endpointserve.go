package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	subjectEndpoints        = events.PrefixService + "auth.endpoints"
	subjectEndpointsLearned = subjectEndpoints + ".learned"
	subjectEndpointsSeen    = subjectEndpoints + ".seen"

	maxEndpointsAsked   = 100       // in one request
	maxEndpointsRequest = 32 << 10  // bytes
	maxEndpointsReply   = 400 << 10 // bytes of what is sealed, about: the rest is asked for again
	maxEndpointKey      = 256       // bytes
)

// endpointsRequest asks for endpoints by their keys in the bucket.
type endpointsRequest struct {
	Keys      []string `json:"keys"`
	Recipient string   `json:"recipient"` // public curve key that the reply is sealed to
	Nonce     string   `json:"nonce"`     // chosen anew for each request
}

// endpointsReply holds either Error or the rest.
type endpointsReply struct {
	Sender string        `json:"sender,omitempty"` // public curve key of this one reply
	Sealed []byte        `json:"sealed,omitempty"` // an endpointsGrant
	Error  *events.Error `json:"error,omitempty"`
}

// endpointsGrant is what is sealed. It repeats the nonce, so that a reply answers
// that request and no other. An endpoint that is missing from it is to be asked
// for again: it is not there yet, or there was no room.
type endpointsGrant struct {
	Nonce     string             `json:"nonce"`
	Endpoints []endpointHandover `json:"endpoints"`
}

type endpointHandover struct {
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
	// Unreadable stands for all the rest: nobody can be told what the endpoint is.
	Unreadable bool `json:"unreadable,omitempty"`

	ID           string            `json:"id,omitempty"`
	Provider     string            `json:"provider,omitempty"`
	UserID       string            `json:"user_id,omitempty"`
	ConnectionID string            `json:"connection_id,omitempty"`
	State        endpoint.State    `json:"state,omitempty"`
	URL          string            `json:"url,omitempty"`
	Webhooks     json.RawMessage   `json:"webhooks,omitempty"`
	Token        []byte            `json:"token,omitempty"`
	Secrets      []webhookHandover `json:"secrets,omitempty"`
	// Trust is what a secret that a handshake brings is sealed to: a public curve
	// key, and the private one as only the auth service can read it. Absent unless
	// the endpoint takes one.
	Trust  string `json:"trust,omitempty"`
	Ticket []byte `json:"ticket,omitempty"`
}

// serve tells ingresses about endpoints and hears from them, until ctx ends.
func (e *endpoints) serve(ctx context.Context, conn *nats.Conn) error {
	service, err := micro.AddService(conn, micro.Config{
		Name: "plugfn-auth-endpoints", Version: apiVersion, Description: "webhook endpoints", QueueGroup: queueGroup,
	})
	if err == nil {
		answer := func(f func(context.Context, []byte) (any, error)) micro.HandlerFunc {
			return func(r micro.Request) { e.answer(ctx, r, f) }
		}
		err = errors.Join(
			service.AddEndpoint("endpoints", answer(e.handOut), micro.WithEndpointSubject(subjectEndpoints)),
			service.AddEndpoint("learned", answer(e.learned), micro.WithEndpointSubject(subjectEndpointsLearned)),
			service.AddEndpoint("seen", answer(e.seen), micro.WithEndpointSubject(subjectEndpointsSeen)),
		)
	}
	if err != nil {
		return fmt.Errorf("serving %s: %w", subjectEndpoints, err)
	}
	<-ctx.Done()
	if err := service.Stop(); err != nil && !conn.IsClosed() {
		return fmt.Errorf("draining %s: %w", subjectEndpoints, err)
	}
	return nil
}

// answer answers one request at a time.
func (e *endpoints) answer(ctx context.Context, request micro.Request, work func(context.Context, []byte) (any, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookTimeout)
	defer cancel()
	reply, err := work(ctx, request.Data())
	if err != nil {
		reply = endpointsReply{Error: asError(err)}
		e.log.Warn().Err(err).Str("subject", request.Subject()).Msg("request of an ingress refused")
	}
	body, err := json.Marshal(reply)
	if err == nil {
		err = request.Respond(body)
	}
	if err != nil {
		e.log.Warn().Err(err).Msg("request of an ingress not answered")
	}
}

// handOut answers an endpointsRequest.
func (e *endpoints) handOut(ctx context.Context, data []byte) (any, error) {
	var r endpointsRequest
	if len(data) > maxEndpointsRequest || json.Unmarshal(data, &r) != nil {
		return nil, events.Errorf(events.CodeInvalidParams, "a request for endpoints is a JSON object of at most %d bytes", maxEndpointsRequest)
	}
	switch {
	case r.Nonce == "" || len(r.Nonce) > maxNonce:
		return nil, invalid("nonce", "must be from 1 to %d bytes", maxNonce)
	case len(r.Recipient) != curveKeySize || !nkeys.IsValidPublicCurveKey(r.Recipient): // nkeys trusts the length of what it decodes
		return nil, invalid("recipient", "must be a public curve key (X…)")
	case len(r.Keys) > maxEndpointsAsked:
		return nil, invalid("keys", "must be at most %d", maxEndpointsAsked)
	}
	g, size := endpointsGrant{Nonce: r.Nonce}, 0
	defer func() {
		for _, h := range g.Endpoints {
			h.clear()
		}
	}()
	for _, key := range r.Keys {
		entry, err := e.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the endpoint: %w", err)
		}
		h, n := e.handover(entry)
		if size += n; size > maxEndpointsReply {
			break
		}
		g.Endpoints = append(g.Endpoints, h)
	}
	sender, sealed, err := seal(r.Recipient, g)
	return endpointsReply{Sender: sender, Sealed: sealed}, err
}

func (h *endpointHandover) clear() {
	clear(h.Token)
	for _, s := range h.Secrets {
		clear(s.Secret)
	}
}

// handover is what an ingress needs of an endpoint, and about how large it is.
// One that cannot be read is said to be so: the ingress would wait for it.
func (e *endpoints) handover(entry jetstream.KeyValueEntry) (h endpointHandover, size int) {
	h, err := e.open(entry)
	if err != nil {
		e.log.Error().Err(err).Uint64("revision", entry.Revision()).Msg("endpoint unreadable")
		h = endpointHandover{Unreadable: true}
	}
	h.Key, h.Revision = entry.Key(), entry.Revision()
	size = len(h.Key) + len(h.URL) + len(h.Webhooks) + len(h.Ticket) + 512
	for _, s := range h.Secrets {
		size += 2 * len(s.Secret)
	}
	return h, size
}

func (e *endpoints) open(entry jetstream.KeyValueEntry) (endpointHandover, error) {
	r, err := decodeEndpoint(entry.Key(), entry.Value())
	if err != nil {
		return endpointHandover{}, err
	}
	h := endpointHandover{
		ID: r.ID, Provider: r.Provider, UserID: r.UserID, ConnectionID: r.ConnectionID,
		State: r.State, Webhooks: r.Webhooks,
	}
	path, whole, err := e.address(&r)
	if err != nil {
		return endpointHandover{}, err
	}
	h.URL, h.Token = whole, []byte(path[len(endpoint.Path(r.Provider, "")):])
	for _, s := range r.Secrets {
		plain, err := e.keys.openAt(s.Credential, r.placeOfSecret(&s))
		if err != nil { // the others are good all the same
			e.log.Error().Err(err).Str("endpoint", r.ID).Str("secret", s.ID).Msg("webhook secret unreadable")
			continue
		}
		h.Secrets = append(h.Secrets, webhookHandover{Secret: plain, NotAfter: s.NotAfter})
	}
	if r.takesSecret() {
		h.Trust, h.Ticket, err = e.ticket(&r)
	}
	return h, err
}
