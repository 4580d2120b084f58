package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/providers"
)

// EndpointsConfig holds what an Endpoints needs. Conn, JetStream and Providers
// must be set.
type EndpointsConfig struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Providers *providers.Registry
	Log       zerolog.Logger
	Now       func() time.Time // nil: time.Now
}

// Endpoints knows the webhook endpoints of single connections. While it runs it
// follows their changes, asks the auth service for them over the bus, sealed to a
// key that only it has, and keeps them in memory. It is safe for concurrent use.
type Endpoints struct {
	cfg    EndpointsConfig
	pair   nkeys.KeyPair
	public string

	loaded chan struct{} // closed once all of the bucket was seen
	once   sync.Once

	mu      sync.RWMutex
	kept    map[string]*keptEndpoint            // :: key → what is known of it
	byToken map[[sha256.Size]byte]*keptEndpoint // :: digest of provider and token → the same
	byID    map[string]*keptEndpoint            // the same
	stale   map[string]bool                     // keys of those that have changed since they were asked for
	news    map[string]time.Time                // :: key → delivery that nobody was told of
}

// keptEndpoint is what is known of an endpoint.
type keptEndpoint struct {
	endpoint.Endpoint
	revision uint64 // that there is
	asked    uint64 // that the rest is of; 0: none
	digest   [sha256.Size]byte
	secrets  []heldSecret
	trust    string
	ticket   []byte
	told     time.Time // until when the auth service knows of its deliveries
}

// NewEndpoints makes an Endpoints that knows nothing until Run.
func NewEndpoints(cfg EndpointsConfig) (*Endpoints, error) {
	if cfg.Conn == nil || cfg.JetStream == nil || cfg.Providers == nil {
		return nil, errors.New("endpoints: Conn, JetStream and Providers are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	pair, public, err := newCurveKey()
	if err != nil {
		return nil, fmt.Errorf("endpoints: %w", err)
	}
	return &Endpoints{
		cfg: cfg, pair: pair, public: public, loaded: make(chan struct{}), kept: map[string]*keptEndpoint{},
		byToken: map[[sha256.Size]byte]*keptEndpoint{}, byID: map[string]*keptEndpoint{}, stale: map[string]bool{}, news: map[string]time.Time{},
	}, nil
}

func newCurveKey() (nkeys.KeyPair, string, error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, "", fmt.Errorf("making a curve key: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, "", fmt.Errorf("making a curve key: %w", err)
	}
	return pair, public, nil
}

func digestOf(provider, token string) [sha256.Size]byte {
	return sha256.Sum256([]byte(provider + "/" + token))
}

// Endpoint finds the endpoint of a provider with that token. all reports whether
// what is said is all there is to say: it is false after the start, and after
// changes until the auth service has told them.
func (x *Endpoints) Endpoint(provider, token string) (e endpoint.Endpoint, found, all bool) {
	digest, now := digestOf(provider, token), x.cfg.Now()
	x.mu.RLock()
	defer x.mu.RUnlock()
	all = x.isLoaded() && len(x.stale) == 0
	k := x.byToken[digest]
	if k == nil {
		return endpoint.Endpoint{}, false, all
	}
	e = k.Endpoint
	for _, s := range k.secrets {
		if s.isGood(now) {
			e.Secrets = append(e.Secrets, s.secret)
		}
	}
	return e, true, all
}

// Webhooks finds what reads the deliveries of the endpoint with an id: nil where
// its pack's own block does, or where there is no such endpoint. all as of
// [Endpoints.Endpoint].
func (x *Endpoints) Webhooks(id string) (own *providers.Webhooks, all bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if k := x.byID[id]; k != nil {
		own = k.Webhooks
	}
	return own, x.isLoaded() && len(x.stale) == 0
}

// Loaded is closed once it is known which endpoints there are.
func (x *Endpoints) Loaded() <-chan struct{} { return x.loaded }

func (x *Endpoints) isLoaded() bool {
	select {
	case <-x.loaded:
		return true
	default:
		return false
	}
}

// Run keeps the endpoints up to date until ctx ends.
func (x *Endpoints) Run(ctx context.Context) error {
	telling, stop := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() { x.tell(telling) })
	defer func() { stop(); teller.Wait() }()
	for ctx.Err() == nil {
		if err := x.follow(ctx); err != nil && ctx.Err() == nil {
			x.cfg.Log.Warn().Err(err).Msg("endpoints not followed: starting again")
		}
		sleep(ctx, watchPause)
	}
	return nil
}

// follow does so until the watch breaks.
func (x *Endpoints) follow(ctx context.Context) error {
	kv, err := x.cfg.JetStream.KeyValue(ctx, bus.BucketEndpoints)
	if err != nil {
		return fmt.Errorf("opening bucket %s: %w", bus.BucketEndpoints, err)
	}
	watcher, err := kv.WatchAll(ctx, jetstream.MetaOnly())
	if err != nil {
		return fmt.Errorf("following the endpoints: %w", err)
	}
	defer endWatch(watcher)
	seen := map[string]bool{} // keys that there are; those of before that are not among them are gone
	ask := time.NewTimer(time.Hour)
	defer ask.Stop()
	pause := askAgainFirst
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.Join(errors.New("following the endpoints: the watch ended"), ctx.Err())
			case entry == nil:
				x.settle(seen)
				seen = nil
			default:
				x.note(entry, seen)
			}
			if seen == nil {
				pause = askAgainFirst
				ask.Reset(0)
			}
		case <-ask.C:
			if x.askAll(ctx) {
				continue
			}
			ask.Reset(pause)
			pause = min(2*pause, askAgainLast)
		}
	}
}

// note files a change.
func (x *Endpoints) note(entry jetstream.KeyValueEntry, seen map[string]bool) {
	key := entry.Key()
	x.mu.Lock()
	defer x.mu.Unlock()
	if entry.Operation() != jetstream.KeyValuePut {
		x.forget(key)
		return
	}
	if seen != nil {
		seen[key] = true
	}
	k := x.kept[key]
	if k == nil {
		k = &keptEndpoint{}
		x.kept[key] = k
	}
	k.revision = max(k.revision, entry.Revision())
	if k.asked < k.revision {
		x.stale[key] = true
	}
}

// forget drops what is known of a key.
func (x *Endpoints) forget(key string) {
	if k := x.kept[key]; k != nil {
		x.unlink(k)
	}
	delete(x.kept, key)
	delete(x.stale, key)
	delete(x.news, key)
}

func (x *Endpoints) unlink(k *keptEndpoint) {
	if x.byToken[k.digest] == k {
		delete(x.byToken, k.digest)
	}
	if x.byID[k.ID] == k {
		delete(x.byID, k.ID)
	}
}

// settle takes away what was deleted while nobody followed.
func (x *Endpoints) settle(seen map[string]bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for key := range x.kept {
		if !seen[key] {
			x.forget(key)
		}
	}
	x.once.Do(func() { close(x.loaded) })
}

// askAll asks for the endpoints that have changed, and reports whether all of
// them were answered.
func (x *Endpoints) askAll(ctx context.Context) bool {
	for {
		keys := x.toAsk()
		if len(keys) == 0 {
			return true
		}
		grant, err := x.ask(ctx, keys)
		if err != nil {
			x.cfg.Log.Warn().Err(err).Int("endpoints", len(keys)).Msg("endpoints not known yet")
			return false
		}
		if taken := x.take(grant); taken == 0 {
			return false // the service reads what is older than what was announced
		}
	}
}

func (x *Endpoints) toAsk() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	keys := make([]string, 0, min(len(x.stale), maxEndpointsAsked))
	for key := range x.stale {
		if len(keys) == maxEndpointsAsked {
			break
		}
		keys = append(keys, key)
	}
	return keys
}

// ask asks the auth service once.
func (x *Endpoints) ask(ctx context.Context, keys []string) (*endpointsGrant, error) {
	request := endpointsRequest{Keys: keys, Recipient: x.public, Nonce: rand.Text()}
	reply, err := x.request(ctx, subjectEndpoints, request)
	if err != nil {
		return nil, err
	}
	if len(reply.Sender) != curveKeySize { // nkeys trusts the length of what it decodes
		return nil, errStrange("its sender is no curve key")
	}
	plain, err := x.pair.Open(reply.Sealed, reply.Sender)
	if err != nil {
		return nil, errStrange("it is not sealed to this client")
	}
	defer clear(plain)
	var g endpointsGrant
	if err := json.Unmarshal(plain, &g); err != nil || g.Nonce != request.Nonce {
		return nil, errStrange("it answers another request")
	}
	return &g, nil
}

// request sends one request to the auth service.
func (x *Endpoints) request(ctx context.Context, subject string, request any) (endpointsReply, error) {
	var reply endpointsReply
	body, err := json.Marshal(request)
	if err != nil {
		return reply, fmt.Errorf("encoding the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	msg, err := x.cfg.Conn.RequestWithContext(ctx, subject, body)
	if err != nil {
		return reply, fmt.Errorf("asking the auth service: %w", err)
	}
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		return reply, errStrange("it is not JSON of the known form")
	}
	if reply.Error != nil {
		return reply, reply.Error
	}
	return reply, nil
}

// take files what was handed out and returns how much of it was news.
func (x *Endpoints) take(g *endpointsGrant) (taken int) {
	for _, h := range g.Endpoints {
		fresh := x.read(&h)
		h.clear()
		x.mu.Lock()
		if k := x.kept[h.Key]; k != nil && h.Revision >= k.revision {
			x.unlink(k)
			fresh.revision, fresh.asked, fresh.told = h.Revision, h.Revision, k.told
			x.kept[h.Key] = fresh
			if fresh.ID != "" {
				x.byToken[fresh.digest] = fresh
				x.byID[fresh.ID] = fresh
			}
			delete(x.stale, h.Key)
			taken++
		}
		x.mu.Unlock()
	}
	return taken
}

// read makes an endpoint of what was handed out; an empty one where it cannot
// be used.
func (x *Endpoints) read(h *endpointHandover) *keptEndpoint {
	k := &keptEndpoint{}
	if h.Unreadable {
		return k
	}
	var own *providers.Webhooks
	if len(h.Webhooks) > 0 {
		var err error
		if own, err = x.webhooks(h); err != nil {
			x.cfg.Log.Error().Err(err).Str("endpoint", h.ID).Str("provider", h.Provider).Msg("endpoint refuses all: its webhooks block does not fit the pack")
			return k
		}
	}
	k.Endpoint = endpoint.Endpoint{
		ID: h.ID, Key: h.Key, Provider: h.Provider, UserID: h.UserID, ConnectionID: h.ConnectionID, State: h.State, URL: h.URL,
		Webhooks: own,
	}
	k.digest, k.trust, k.ticket = digestOf(h.Provider, string(h.Token)), h.Trust, h.Ticket
	for _, s := range h.Secrets {
		k.secrets = append(k.secrets, heldSecret{secret: providers.NewSecret(s.Secret), notBefore: s.NotBefore, notAfter: s.NotAfter})
	}
	return k
}

// webhooks is the block that an endpoint has of its own.
func (x *Endpoints) webhooks(h *endpointHandover) (*providers.Webhooks, error) {
	pack, ok := x.cfg.Providers.Pack(h.Provider)
	if !ok || pack.Webhooks == nil {
		return nil, unknownProvider(x.cfg.Providers, h.Provider)
	}
	return webhooksOf(x.cfg.Providers, pack, h.Webhooks)
}
