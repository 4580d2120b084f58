package ingress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/plugfn/plugfn/pkg/providers"
)

// issuer publishes a key set and its own certificate.
type issuer struct {
	*httptest.Server
	calls  atomic.Int64
	status atomic.Int64 // of the answer; 0: 200
	held   atomic.Pointer[holdUp]
}

// holdUp keeps an answer back until its end.
type holdUp struct{ began, end chan struct{} }

// hold keeps the next answer back.
func (i *issuer) hold() *holdUp {
	h := &holdUp{began: make(chan struct{}), end: make(chan struct{})}
	i.held.Store(h)
	return h
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.calls.Add(1)
		if h := i.held.Swap(nil); h != nil {
			close(h.began)
			<-h.end
		}
		switch status := int(i.status.Load()); {
		case status != 0:
			w.WriteHeader(status)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/jwks", http.StatusFound)
		case r.URL.Path == "/large":
			_, _ = w.Write([]byte(strings.Repeat(" ", maxKeyBytes+1)))
		case strings.HasSuffix(r.URL.Path, ".pem"):
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
		case r.URL.Path == "/jwks":
			_, _ = w.Write(set)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// clock is a time that a test sets.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(c.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.Add(int64(d / time.Second)) }

func TestKeys(t *testing.T) {
	i, at := newIssuer(t), &clock{}
	keys := NewKeys(KeysConfig{HTTP: i.Client(), Now: at.now})
	ask := func(id string) error {
		_, err := keys.Key(t.Context(), i.URL+"/jwks", id)
		return err
	}
	want := func(what string, err error, calls int64, unknown, away bool) {
		t.Helper()
		if i.calls.Load() != calls || errors.Is(err, providers.ErrNoKey) != unknown || (err != nil) != (unknown || away) {
			t.Errorf("%s: %d calls, %v; want %d", what, i.calls.Load(), err, calls)
		}
	}
	want("the first time", ask("k1"), 1, false, false)
	want("again", ask("k1"), 1, false, false)
	for range 1000 { // a storm of unknown keys makes no calls
		want("an unknown one", ask("k2"), 1, true, false)
	}
	at.advance(keysRefreshed)
	want("an unknown one, later", ask("k2"), 2, true, false)
	want("and again", ask("k3"), 2, true, false)
	at.advance(time.Hour)
	want("the known one, kept", ask("k1"), 2, false, false)
	i.status.Store(http.StatusBadGateway)
	at.advance(keysKept)
	want("the known one, while the issuer is away", ask("k1"), 3, false, false)
	i.status.Store(0)
	if _, err := keys.Certificate(t.Context(), i.URL+"/jwks"); !errors.Is(err, providers.ErrNoKey) {
		t.Errorf("a key set as a certificate: %v", err)
	}
}

func TestKeysRefuse(t *testing.T) {
	i := newIssuer(t)
	keys := NewKeys(KeysConfig{HTTP: i.Client()})
	if c, err := keys.Certificate(t.Context(), i.URL+"/a.pem"); err != nil || !c.Equal(i.Certificate()) {
		t.Fatalf("got %v, %v", c, err)
	}
	for _, path := range []string{"/moved", "/large", "/none"} {
		if _, err := keys.Key(t.Context(), i.URL+path, "k1"); !errors.Is(err, providers.ErrNoKey) {
			t.Errorf("%s: got %v, want no such key", path, err)
		}
	}
	if _, err := keys.Key(t.Context(), strings.Replace(i.URL, "https", "http", 1)+"/jwks", "k1"); !errors.Is(err, providers.ErrNoKey) {
		t.Errorf("without TLS: got %v", err)
	}
	before := i.calls.Load()
	for n := range 50 { // addresses of certificates are the sender's to choose
		_, _ = keys.Certificate(t.Context(), i.URL+"/"+strings.Repeat("x", n+1)+".pem")
	}
	if made := i.calls.Load() - before; made > maxFetches {
		t.Errorf("%d calls for certificates, want at most %d", made, maxFetches)
	}
}

// TestKeysInUseStay: addresses that a sender makes up do not push them out.
func TestKeysInUseStay(t *testing.T) {
	i, at := newIssuer(t), &clock{}
	keys := NewKeys(KeysConfig{HTTP: i.Client(), Now: at.now})
	if _, err := keys.Certificate(t.Context(), i.URL+"/in-use.pem"); err != nil {
		t.Fatal(err)
	}
	for n := range maxDocuments + 10 {
		at.advance(keysRefreshed)
		_, _ = keys.Certificate(t.Context(), i.URL+"/made-up/"+strconv.Itoa(n))
	}
	before := i.calls.Load()
	if _, err := keys.Certificate(t.Context(), i.URL+"/in-use.pem"); err != nil || i.calls.Load() != before {
		t.Errorf("%d calls more, %v", i.calls.Load()-before, err)
	}
	if len(keys.kept) > maxDocuments {
		t.Errorf("%d are kept", len(keys.kept))
	}
}

// TestKnownKeysAreNotHeldUp: whatever addresses strangers make up, and while a
// key set is fetched anew for one of their keys, what is known verifies.
func TestKnownKeysAreNotHeldUp(t *testing.T) {
	i, at := newIssuer(t), &clock{}
	keys := NewKeys(KeysConfig{HTTP: i.Client(), Now: at.now})
	set := func(id string) error {
		_, err := keys.Key(t.Context(), i.URL+"/jwks", id)
		return err
	}
	certificate := func(name string) error {
		_, err := keys.Certificate(t.Context(), i.URL+"/"+name)
		return err
	}
	if err := errors.Join(set("k1"), certificate("in-use.pem")); err != nil {
		t.Fatal(err)
	}
	at.advance(keysKept) // both have to be fetched again
	for n := range 100 {
		_ = certificate("made-up/" + strconv.Itoa(n))
	}
	before := i.calls.Load()
	if err := errors.Join(set("k1"), certificate("in-use.pem")); err != nil || i.calls.Load() != before+2 {
		t.Errorf("known ones, after made-up ones: %d calls, %v", i.calls.Load()-before, err)
	}
	if err := certificate("new.pem"); !errors.Is(err, errManyFetches) {
		t.Errorf("a new one in the same minute: %v", err)
	}
	if _, err := keys.Key(t.Context(), i.URL+"/other/jwks", "k1"); !errors.Is(err, providers.ErrNoKey) {
		t.Errorf("another key set, which senders do not name: %v", err)
	}
	// What was not there is not asked for again and again either.
	at.advance(keysRefreshed)
	before = i.calls.Load()
	for range 3 {
		for n := range 100 {
			_ = certificate("made-up/" + strconv.Itoa(n))
		}
		at.advance(keysRefreshed / 4)
	}
	if made := i.calls.Load() - before; made > maxFetches {
		t.Errorf("%d calls for what was not there, want at most %d", made, maxFetches)
	}
	at.advance(keysRefreshed)
	held := i.hold()
	asked := make(chan error, 1)
	go func() { asked <- set("k2") }()
	<-held.began
	if err := set("k1"); err != nil {
		t.Errorf("a known key, while the set is fetched: %v", err)
	}
	close(held.end)
	if err := <-asked; !errors.Is(err, providers.ErrNoKey) {
		t.Errorf("an unknown key: %v", err)
	}
}

// TestKeysAtOnce: those who ask at once share one call.
func TestKeysAtOnce(t *testing.T) {
	i := newIssuer(t)
	keys := NewKeys(KeysConfig{HTTP: i.Client()})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := keys.Key(context.Background(), i.URL+"/jwks", "k1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if i.calls.Load() != 1 {
		t.Errorf("%d calls, want one", i.calls.Load())
	}
}
