package ingress

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Endpoints knows the endpoints of single connections. It answers from memory.
type Endpoints interface {
	// Endpoint finds the endpoint of a provider with that token. all is false
	// while there may be others, or other secrets of it.
	Endpoint(provider, token string) (e endpoint.Endpoint, found, all bool)
	// Webhooks finds what reads the deliveries of the endpoint with an id: nil
	// where the pack's own block does, or there is no such endpoint. all as above.
	Webhooks(id string) (own *providers.Webhooks, all bool)
	// Seen hears that a genuine delivery came. It does not wait.
	Seen(e endpoint.Endpoint)
	// Learn stores a secret that the handshake of a pending endpoint brought.
	// nil: it is stored, and the endpoint active. An [events.Error] with the code
	// canceled or invalid_params: it is not wanted, whenever it comes.
	Learn(ctx context.Context, e endpoint.Endpoint, secret providers.Secret) error
	// Loaded is closed once it is known which endpoints there are.
	Loaded() <-chan struct{}
}

// route is where a delivery came in: at the one endpoint of the operator's app,
// or at one of a single connection.
type route struct {
	pack     *providers.Pack
	isApp    bool
	found    bool              // there is such an endpoint, and it takes deliveries
	endpoint endpoint.Endpoint // zero for the app's
	all      bool              // there are no other secrets
	token    string            // as the sender has it
}

// routeOf finds the endpoint that a request is for. An empty token stands for
// the app's. What is sent to an endpoint that there is not is looked at as
// anything else: nobody can tell it from a wrong signature.
func (s *Service) routeOf(pack *providers.Pack, token string) *route {
	if token == "" {
		return &route{pack: pack, isApp: true}
	}
	rt := &route{pack: pack, token: token, all: true}
	if s.Endpoints == nil {
		return rt
	}
	rt.endpoint, rt.found, rt.all = s.Endpoints.Endpoint(pack.Name, token)
	if !rt.found || rt.endpoint.State == endpoint.Paused {
		rt.found, rt.endpoint = false, endpoint.Endpoint{}
		return rt
	}
	if w := rt.endpoint.Webhooks; w != nil {
		own := *pack
		own.Webhooks = w
		rt.pack = &own
	}
	return rt
}

// secrets returns what deliveries may be signed with, and whether that is all.
// It is never nothing: a secret that nobody knows costs the same work.
func (s *Service) secrets(rt *route) ([]providers.Secret, bool) {
	if rt.isApp {
		return s.secretsOf(rt.pack.Name)
	}
	if len(rt.endpoint.Secrets) == 0 {
		return []providers.Secret{s.decoy}, rt.all
	}
	return rt.endpoint.Secrets, rt.all
}

// newDecoy makes a secret that nobody knows. Hexadecimal is right for every way
// in which packs read their keys.
func newDecoy() providers.Secret {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return providers.NewSecret([]byte(hex.EncodeToString(random)))
}

// learn keeps the secret that a handshake has brought, before that is answered.
// Only a pending endpoint of a single connection takes one: the app's is the
// operator's to set.
func (s *Service) learn(ctx context.Context, rt *route, secret providers.Secret) *answer {
	if !rt.found || rt.endpoint.State != endpoint.Pending {
		refusal := refuse(http.StatusUnauthorized, "a secret that is not wanted")
		return &refusal
	}
	err := s.Endpoints.Learn(ctx, rt.endpoint, secret)
	var told *events.Error
	if errors.As(err, &told) && (told.Code == events.CodeCanceled || told.Code == events.CodeInvalidParams) {
		refusal := refuse(http.StatusUnauthorized, "a secret that is not wanted") // nor will it be later on
		return &refusal
	}
	if err != nil {
		rt.log(s.Log.Error()).Err(err).Msg("secret of a handshake not kept")
		refusal := refuse(http.StatusServiceUnavailable, "secret not kept")
		return &refusal
	}
	rt.log(s.Log.Info()).Msg("secret of a handshake kept")
	return nil
}

// source stands for the endpoint in the source of its events and in what
// repetitions are told by. It is not the token, which is secret.
func (rt *route) source() string {
	if rt.isApp {
		return appEndpoint
	}
	return rt.endpoint.ID
}

// log adds where it was to a line of the log.
func (rt *route) log(line *zerolog.Event) *zerolog.Event {
	line = line.Str("provider", rt.pack.Name)
	switch {
	case rt.isApp:
		return line
	case rt.found:
		return line.Str("endpoint", rt.endpoint.ID)
	default:
		return line.Str("endpoint", endpoint.Digest(rt.token))
	}
}

// receiveAt answers one request to /webhooks/{provider}/{endpoint}.
func (s *Service) receiveAt(w http.ResponseWriter, r *http.Request) {
	s.receiveFor(w, r, r.PathValue("endpoint"))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
