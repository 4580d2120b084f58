package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	subjectWebhooks = events.PrefixService + "auth.webhooks"
	webhookTimeout  = 4 * time.Second
	maxHandedOut    = 256 << 10 // bytes of the secrets of a provider
)

// webhookRequest asks for the stored webhook secrets of a provider.
type webhookRequest struct {
	Provider  string `json:"provider"`
	Recipient string `json:"recipient"` // public curve key that the reply is sealed to
	Nonce     string `json:"nonce"`     // chosen anew for each request
}

// webhookReply holds either Error or the rest.
type webhookReply struct {
	Sender string        `json:"sender,omitempty"` // public curve key of this one reply
	Sealed []byte        `json:"sealed,omitempty"` // a webhookGrant
	Error  *events.Error `json:"error,omitempty"`
}

// webhookGrant is what is sealed. It repeats the request, so that a reply answers
// that request and no other.
type webhookGrant struct {
	Nonce    string            `json:"nonce"`
	Provider string            `json:"provider"`
	Secrets  []webhookHandover `json:"secrets"`
}

type webhookHandover struct {
	Secret    []byte    `json:"secret"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
}

// serveWebhooks hands the stored webhook secrets to who may ask for them, until
// ctx ends.
func (f *flows) serveWebhooks(ctx context.Context, conn *nats.Conn) error {
	service, err := micro.AddService(conn, micro.Config{
		Name: "plugfn-auth-webhooks", Version: apiVersion, Description: "webhook secrets", QueueGroup: queueGroup,
	})
	if err == nil {
		err = errors.Join(service.AddEndpoint("webhooks", micro.HandlerFunc(func(r micro.Request) {
			f.answerWebhooks(ctx, r)
		}), micro.WithEndpointSubject(subjectWebhooks)))
	}
	if err != nil {
		return fmt.Errorf("serving %s: %w", subjectWebhooks, err)
	}
	<-ctx.Done()
	if err := service.Stop(); err != nil && !conn.IsClosed() {
		return fmt.Errorf("draining %s: %w", subjectWebhooks, err)
	}
	return nil
}

// answerWebhooks answers one request at a time: they come at the start of an
// ingress and when a secret changes.
func (f *flows) answerWebhooks(ctx context.Context, request micro.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookTimeout)
	defer cancel()
	reply, err := f.webhookReply(ctx, request.Data())
	if err != nil {
		reply = webhookReply{Error: asError(err)}
		f.log.Warn().Err(err).Msg("webhook secrets not handed out")
	}
	body, err := json.Marshal(reply)
	if err == nil {
		err = request.Respond(body)
	}
	if err != nil {
		f.log.Warn().Err(err).Msg("request for webhook secrets not answered")
	}
}

// asError is what an asker learns of an error.
func asError(err error) *events.Error {
	var e *events.Error
	if errors.As(err, &e) {
		return e
	}
	return events.Errorf(events.CodeInternal, "the auth service failed")
}

func (f *flows) webhookReply(ctx context.Context, data []byte) (webhookReply, error) {
	var r webhookRequest
	if len(data) > maxRequest || json.Unmarshal(data, &r) != nil {
		return webhookReply{}, events.Errorf(events.CodeInvalidParams, "a request for webhook secrets is a JSON object of at most %d bytes", maxRequest)
	}
	switch {
	case r.Nonce == "" || len(r.Nonce) > maxNonce:
		return webhookReply{}, invalid("nonce", "must be from 1 to %d bytes", maxNonce)
	case len(r.Recipient) != curveKeySize || !nkeys.IsValidPublicCurveKey(r.Recipient): // nkeys trusts the length of what it decodes
		return webhookReply{}, invalid("recipient", "must be a public curve key (X…)")
	}
	g := webhookGrant{Nonce: r.Nonce, Provider: r.Provider}
	stored, err := f.apps.webhooks(ctx, r.Provider)
	if err != nil {
		return webhookReply{}, err
	}
	size := 0
	for _, s := range stored {
		plain, err := f.apps.keys.openAt(s.Credential, placeOfWebhook(&s))
		if err != nil { // the others are good all the same
			f.log.Error().Err(err).Str("provider", s.Provider).Str("secret", s.ID).Msg("webhook secret unreadable")
			continue
		}
		defer clear(plain)
		if size += len(plain); size > maxHandedOut {
			break
		}
		g.Secrets = append(g.Secrets, webhookHandover{Secret: plain, NotBefore: s.NotBefore, NotAfter: s.NotAfter})
	}
	sender, sealed, err := seal(r.Recipient, g)
	return webhookReply{Sender: sender, Sealed: sealed}, err
}
