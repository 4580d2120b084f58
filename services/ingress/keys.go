package ingress

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	keysKept      = 24 * time.Hour
	keysRefreshed = time.Minute // at most once in it for a key that is not known
	keysTimeout   = 2 * time.Second
	maxKeyBytes   = 64 << 10
	maxDocuments  = 256 // addresses that are kept
	maxFetches    = 10  // in a minute, of certificates that are not known: senders name their addresses
	maxSetFetches = 60  // in a minute, of key sets that are not known: packs and endpoints name them
)

// KeysConfig holds what Keys need.
type KeysConfig struct {
	HTTP *http.Client     // reaches public addresses only; no redirect is followed, whatever it would do
	Now  func() time.Time // nil: time.Now
}

// Keys fetches the certificates and key sets that signers publish, over https,
// and keeps them for a day. It is safe for concurrent use.
type Keys struct {
	http *http.Client
	now  func() time.Time

	mu           sync.Mutex
	kept         map[string]*published
	certificates budget
	sets         budget
}

// budget says how many addresses may be fetched in a minute of which nothing
// good is known. One that is known is fetched again whatever was spent.
type budget struct {
	most    int
	fetched []time.Time // of the last minute
}

// published is what is at one address.
type published struct {
	before      *published    // what was good until now; nil: nothing. It has none itself
	done        chan struct{} // closed once it is fetched
	at          time.Time
	certificate *x509.Certificate
	keys        map[string]crypto.PublicKey // :: id → key
	err         error
}

// NewKeys returns a source of keys that has none yet.
func NewKeys(cfg KeysConfig) *Keys {
	client := *cfg.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Keys{
		http: &client, now: cfg.Now, kept: map[string]*published{},
		certificates: budget{most: maxFetches}, sets: budget{most: maxSetFetches},
	}
}

var errManyFetches = errors.New("too many addresses of keys in one minute")

// Certificate returns the certificate at a URL.
func (k *Keys) Certificate(ctx context.Context, url string) (*x509.Certificate, error) {
	p, err := k.get(ctx, url, &k.certificates, func(p *published) bool { return p.certificate != nil })
	if err != nil {
		return nil, err
	}
	if p.certificate == nil {
		return nil, fmt.Errorf("reading a certificate: %w", providers.ErrNoKey)
	}
	return p.certificate, nil
}

// Key returns a key of the set at a URL. One that is not in it is looked for
// again, once a minute for all of them.
func (k *Keys) Key(ctx context.Context, url, id string) (crypto.PublicKey, error) {
	has := func(p *published) bool { return p.keys[id] != nil }
	p, err := k.get(ctx, url, &k.sets, has)
	if err != nil {
		return nil, err
	}
	if !has(p) {
		return nil, fmt.Errorf("looking for a key: %w", providers.ErrNoKey)
	}
	return p.keys[id], nil
}

// get returns what is at a URL: what is kept if that is recent and will do. Who
// asks for what is being fetched waits for it, unless what was there before will
// do.
func (k *Keys) get(ctx context.Context, url string, b *budget, willDo func(*published) bool) (*published, error) {
	k.mu.Lock()
	p := k.kept[url]
	if p == nil || k.isDone(p) && !k.isFresh(p, willDo) {
		var before *published
		if p != nil && p.err == nil {
			p.before, before = nil, p
		} else if !b.take(k.now()) {
			k.mu.Unlock()
			return p, refusalOf(p)
		}
		if p == nil && len(k.kept) >= maxDocuments {
			k.forget()
		}
		p = &published{done: make(chan struct{}), at: k.now(), before: before}
		k.kept[url] = p
		k.mu.Unlock()
		k.fetch(ctx, url, p, before)
		return p, p.err
	}
	before := p.before
	k.mu.Unlock()
	if !k.isDone(p) && before != nil && k.now().Sub(before.at) < keysKept && willDo(before) {
		return before, nil
	}
	select {
	case <-p.done:
		return p, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refusalOf is why an address is not fetched now: what came of it last, if that
// is known.
func refusalOf(p *published) error {
	if p != nil {
		return p.err
	}
	return errManyFetches
}

func (k *Keys) isDone(p *published) bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// isFresh tells whether p is still good, or was fetched too recently to try
// again.
func (k *Keys) isFresh(p *published, willDo func(*published) bool) bool {
	age := k.now().Sub(p.at)
	if age < keysRefreshed {
		return true
	}
	return age < keysKept && p.err == nil && willDo(p)
}

// take tells whether one more address may be fetched now. Whoever sends
// deliveries names addresses of certificates: he must not have us call any
// number.
func (b *budget) take(now time.Time) bool {
	for len(b.fetched) > 0 && now.Sub(b.fetched[0]) >= time.Minute {
		b.fetched = b.fetched[1:]
	}
	if len(b.fetched) >= b.most {
		return false
	}
	b.fetched = append(b.fetched, now)
	return true
}

// forget drops the oldest address, of those without a key if there are any: what
// a sender has made up must not push out what is in use.
func (k *Keys) forget() {
	oldest := ""
	for url, p := range k.kept {
		if k.isDone(p) && (oldest == "" || p.goesBefore(k.kept[oldest])) {
			oldest = url
		}
	}
	delete(k.kept, oldest)
}

func (p *published) goesBefore(other *published) bool {
	if (p.err != nil) != (other.err != nil) {
		return p.err != nil
	}
	return p.at.Before(other.at)
}

// fetch fills p in. What was kept before stays good if it cannot be fetched.
func (k *Keys) fetch(ctx context.Context, url string, p, before *published) {
	defer close(p.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout) // others wait for it as well
	defer cancel()
	raw, err := k.load(ctx, url)
	if err != nil {
		if p.err = err; before != nil && before.err == nil && !errors.Is(err, providers.ErrNoKey) {
			p.certificate, p.keys, p.err = before.certificate, before.keys, nil
		}
		return
	}
	p.certificate, p.keys, p.err = parseKeys(raw)
}

func (k *Keys) load(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil || r.URL.Scheme != "https" {
		return nil, fmt.Errorf("fetching a key: %w", providers.ErrNoKey)
	}
	answer, err := k.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetching a key: %w", err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusOK:
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= http.StatusInternalServerError:
		return nil, fmt.Errorf("fetching a key: answered %d", answer.StatusCode)
	default:
		return nil, fmt.Errorf("fetching a key: answered %d: %w", answer.StatusCode, providers.ErrNoKey)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxKeyBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetching a key: %w", err)
	case len(raw) > maxKeyBytes:
		return nil, fmt.Errorf("fetching a key: larger than %d bytes: %w", maxKeyBytes, providers.ErrNoKey)
	}
	return raw, nil
}

// parseKeys reads a certificate in PEM, or a JSON Web Key Set.
func parseKeys(raw []byte) (*x509.Certificate, map[string]crypto.PublicKey, error) {
	if block, _ := pem.Decode(raw); block != nil {
		certificate, err := providers.ParseCertificate(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("reading a certificate: %w", providers.ErrNoKey)
		}
		return certificate, nil, nil
	}
	keys, err := providers.ParseKeySet(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading a key set: %w", providers.ErrNoKey)
	}
	return nil, keys, nil
}
