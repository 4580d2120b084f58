package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	askAgainFirst = 500 * time.Millisecond
	askAgainLast  = 30 * time.Second
)

// WebhookSecretsConfig holds what a WebhookSecrets needs. Conn and JetStream
// must be set.
type WebhookSecretsConfig struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Log       zerolog.Logger
	Now       func() time.Time // nil: time.Now
}

// WebhookSecrets knows the webhook secrets that are stored with the auth service.
// While it runs it follows their changes, asks for them over the bus, sealed to
// a key that only it has, and keeps them in memory. It is safe for concurrent
// use.
type WebhookSecrets struct {
	cfg    WebhookSecretsConfig
	pair   nkeys.KeyPair
	public string

	loaded chan struct{} // closed once all of the bucket was seen
	once   sync.Once

	mu   sync.RWMutex
	kept map[string]*keptSecret // :: provider's token → what is known of it; none: it has none
}

// keptSecret is what is known of the secrets of a provider.
type keptSecret struct {
	ids     map[string]bool // tokens of the secrets that there are
	changed int             // counts the changes of them
	asked   int             // changes that secrets takes in
	secrets []heldSecret    // in memory only
}

type heldSecret struct {
	secret              providers.Secret
	notBefore, notAfter time.Time
}

func (s heldSecret) isGood(now time.Time) bool {
	return !now.Before(s.notBefore) && (s.notAfter.IsZero() || now.Before(s.notAfter))
}

// NewWebhookSecrets makes a WebhookSecrets that knows nothing until Run.
func NewWebhookSecrets(cfg WebhookSecretsConfig) (*WebhookSecrets, error) {
	if cfg.Conn == nil || cfg.JetStream == nil {
		return nil, errors.New("webhook secrets: Conn and JetStream are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	pair, public, err := newCurveKey()
	if err != nil {
		return nil, fmt.Errorf("webhook secrets: %w", err)
	}
	return &WebhookSecrets{cfg: cfg, pair: pair, public: public, loaded: make(chan struct{}), kept: map[string]*keptSecret{}}, nil
}

// WebhookSecrets returns the stored secrets of a provider that are good now. It
// reports false while there may be others: after the start, and after a change
// until the auth service has answered.
func (w *WebhookSecrets) WebhookSecrets(provider string) ([]providers.Secret, bool) {
	now := w.cfg.Now()
	w.mu.RLock()
	defer w.mu.RUnlock()
	k := w.kept[events.Token(provider)]
	if k == nil {
		return nil, w.isLoaded()
	}
	var good []providers.Secret
	for _, s := range k.secrets {
		if s.isGood(now) {
			good = append(good, s.secret)
		}
	}
	return good, w.isLoaded() && k.asked == k.changed
}

// Loaded is closed once it is known which providers have secrets stored.
func (w *WebhookSecrets) Loaded() <-chan struct{} { return w.loaded }

func (w *WebhookSecrets) isLoaded() bool {
	select {
	case <-w.loaded:
		return true
	default:
		return false
	}
}

// Run keeps the secrets up to date until ctx ends.
func (w *WebhookSecrets) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.follow(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn().Err(err).Msg("webhook secrets not followed: starting again")
		}
		sleep(ctx, watchPause)
	}
	return nil
}

// follow does so until the watch breaks.
func (w *WebhookSecrets) follow(ctx context.Context) error {
	kv, err := w.cfg.JetStream.KeyValue(ctx, bus.BucketApps)
	if err != nil {
		return fmt.Errorf("opening bucket %s: %w", bus.BucketApps, err)
	}
	watcher, err := kv.Watch(ctx, prefixWebhook+">", jetstream.MetaOnly())
	if err != nil {
		return fmt.Errorf("following the webhook secrets: %w", err)
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
				return errors.Join(errors.New("following the webhook secrets: the watch ended"), ctx.Err())
			case entry == nil:
				w.settle(seen)
				seen = nil
			default:
				w.note(entry, seen)
			}
			pause = askAgainFirst
			ask.Reset(0)
		case <-ask.C:
			if w.askAll(ctx) {
				continue
			}
			ask.Reset(pause)
			pause = min(2*pause, askAgainLast)
		}
	}
}

// note files a change.
func (w *WebhookSecrets) note(entry jetstream.KeyValueEntry, seen map[string]bool) {
	provider, id, ok := strings.Cut(strings.TrimPrefix(entry.Key(), prefixWebhook), ".")
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kept[provider]
	if k == nil {
		k = &keptSecret{ids: map[string]bool{}}
		w.kept[provider] = k
	}
	k.changed++
	if entry.Operation() == jetstream.KeyValuePut {
		k.ids[id] = true
		if seen != nil {
			seen[entry.Key()] = true
		}
	} else {
		delete(k.ids, id)
	}
	w.dropEmpty(provider)
}

// settle takes away what was deleted while nobody followed.
func (w *WebhookSecrets) settle(seen map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for provider, k := range w.kept {
		for id := range k.ids {
			if !seen[prefixWebhook+provider+"."+id] {
				delete(k.ids, id)
				k.changed++
			}
		}
		w.dropEmpty(provider)
	}
	w.once.Do(func() { close(w.loaded) })
}

// dropEmpty forgets a provider without secrets: nobody has to be asked for that.
func (w *WebhookSecrets) dropEmpty(provider string) {
	if len(w.kept[provider].ids) == 0 {
		delete(w.kept, provider)
	}
}

// askAll asks for the secrets of the providers where something has changed, and
// reports whether all of them were answered.
func (w *WebhookSecrets) askAll(ctx context.Context) bool {
	w.mu.RLock()
	todo := map[string]int{}
	for provider, k := range w.kept {
		if k.asked != k.changed {
			todo[provider] = k.changed
		}
	}
	w.mu.RUnlock()
	all := true
	for token, changed := range todo {
		provider, _ := events.Untoken(token)
		secrets, err := w.ask(ctx, provider)
		if err != nil {
			w.cfg.Log.Warn().Err(err).Str("provider", provider).Msg("webhook secrets not known yet")
			all = false
			continue
		}
		w.mu.Lock()
		if k := w.kept[token]; k != nil {
			k.secrets, k.asked = secrets, changed
		}
		w.mu.Unlock()
	}
	return all
}

// ask asks the auth service once.
func (w *WebhookSecrets) ask(ctx context.Context, provider string) ([]heldSecret, error) {
	request := webhookRequest{Provider: provider, Recipient: w.public, Nonce: rand.Text()}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	msg, err := w.cfg.Conn.RequestWithContext(ctx, subjectWebhooks, body)
	if err != nil {
		return nil, fmt.Errorf("asking the auth service: %w", err)
	}
	var reply webhookReply
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		return nil, errStrange("it is not JSON of the known form")
	}
	if reply.Error != nil {
		return nil, reply.Error
	}
	return w.open(request, reply)
}

// open unseals a reply. Nothing outside of the seal counts.
func (w *WebhookSecrets) open(request webhookRequest, reply webhookReply) ([]heldSecret, error) {
	if len(reply.Sender) != curveKeySize { // nkeys trusts the length of what it decodes
		return nil, errStrange("its sender is no curve key")
	}
	plain, err := w.pair.Open(reply.Sealed, reply.Sender)
	if err != nil {
		return nil, errStrange("it is not sealed to this client")
	}
	defer clear(plain)
	var g webhookGrant
	if err := json.Unmarshal(plain, &g); err != nil || g.Nonce != request.Nonce || g.Provider != request.Provider {
		return nil, errStrange("it answers another request")
	}
	held := make([]heldSecret, len(g.Secrets))
	for i, s := range g.Secrets {
		held[i] = heldSecret{secret: providers.NewSecret(s.Secret), notBefore: s.NotBefore, notAfter: s.NotAfter}
		clear(s.Secret)
	}
	return held, nil
}
