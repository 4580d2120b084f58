package ingress

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

// fuzzURL is where the ingress of the fuzz target is reached.
const fuzzURL = "https://hooks.example.com"

// fuzzed is an ingress that knows all built-in providers, on a real bus.
type fuzzed struct {
	mux     *http.ServeMux
	js      jetstream.JetStream
	packs   map[string]*providers.Pack
	signers map[string]*providers.Signer // with the secrets that the ingress knows
	last    map[string]uint64            // :: stream → sequence of what was looked at
}

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	packs, err := providertest.Catalog()
	if err != nil {
		f.Fatal(err)
	}
	z := &fuzzed{js: bustest.New(f).JetStream(), packs: packs, signers: map[string]*providers.Signer{}, last: map[string]uint64{}}
	apps := map[string]providers.App{}
	for name, pack := range packs {
		if pack.Webhooks != nil {
			z.signers[name] = pack.Webhooks.NewSigner(nil, providers.NewSecret([]byte("a-seed-that-the-ingress-knows-0123")))
			apps[name] = providers.App{WebhookSecrets: z.signers[name].Secrets()}
		}
	}
	registry, err := providers.NewRegistry(packs, apps)
	if err != nil {
		f.Fatal(err)
	}
	service, err := New(Config{
		JetStream: z.js, Providers: registry, Keys: z.signers["aws-sns"], PublicURL: fuzzURL, Log: zerolog.Nop(),
		Confirm: func(_ context.Context, address string) error {
			if u, err := url.Parse(address); err != nil || u.Scheme != "https" || !strings.Contains(u.Host, ".amazonaws.com") {
				f.Errorf("confirms at %q", address)
			}
			return nil
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Errorf("Run: %v", err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); service.Ready(ctx) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatal("waited in vain for the index")
		}
	}
	z.mux = http.NewServeMux()
	service.Mount(z.mux)
	return z
}

// seed adds the examples of all packs as requests: signed by somebody who does
// not know the secrets, and to be signed by who does.
func (z *fuzzed) seed(f *testing.F) {
	f.Helper()
	for name := range z.signers {
		stranger := z.packs[name].Webhooks.NewSigner(nil, providers.NewSecret([]byte("a-stranger-with-a-seed-of-his-own-0123")))
		fixtures, err := z.packs[name].DeliveryFixtures()
		if err != nil {
			f.Fatal(err)
		}
		for _, fixture := range fixtures {
			d, err := fixture.Delivery(time.Now())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(written(d), true)
			if fixture.Expect.Verified != "" && fixture.Signature == "" && d.Method == http.MethodPost {
				if err := stranger.Sign(d, fuzzURL+"/webhooks/"+name); err != nil {
					f.Fatal(err)
				}
			}
			f.Add(written(d), false)
		}
	}
}

// written is d as it comes over the wire.
func written(d *providers.Delivery) []byte {
	var out bytes.Buffer
	r := &http.Request{
		Method: d.Method, URL: d.URL, Host: "hooks.example.com", Header: d.Header,
		Body: io.NopCloser(bytes.NewReader(d.Body)), ContentLength: int64(len(d.Body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	_ = r.Write(&out) // into memory
	return out.Bytes()
}

// sign makes of r what the provider would have sent; false when it would not.
func (z *fuzzed) sign(r *http.Request) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/webhooks/"), "/")
	signer, ok := z.signers[name]
	if !ok {
		return false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return false
	}
	d := &providers.Delivery{Method: r.Method, URL: r.URL, Header: r.Header, Body: body, ReceivedAt: time.Now()}
	if err := signer.Sign(d, fuzzURL+"/webhooks/"+name); err != nil {
		return false
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(d.Body)), int64(len(d.Body))
	return true
}

// isHandshake tells whether r is one of those that nobody signs.
func (z *fuzzed) isHandshake(r *http.Request, body []byte) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/webhooks/"), "/")
	pack, ok := z.packs[name]
	if !ok || pack.Webhooks == nil {
		return false
	}
	d := &providers.Delivery{Method: r.Method, URL: r.URL, Header: r.Header, Body: body, ReceivedAt: time.Now()}
	_, ok = pack.Webhooks.UnsignedHandshake(d, providers.Check{Secrets: z.signers[name].Secrets(), URL: fuzzURL + "/webhooks/" + name})
	return ok
}

// published returns the subjects of what has been stored since the last time.
func (z *fuzzed) published(t *testing.T) []string {
	t.Helper()
	var subjects []string
	for _, name := range []string{events.StreamEvents, events.StreamDead} {
		stream, err := z.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for seq := z.last[name] + 1; seq <= stream.CachedInfo().State.LastSeq; seq++ {
			msg, err := stream.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			subjects = append(subjects, msg.Subject)
			z.last[name] = seq
		}
	}
	return subjects
}

// FuzzRequest sends requests of any bytes to the ingress. None may make it
// panic or fail. Without a signature made with the secret nothing is stored, and
// nothing but a handshake gets a 2xx; with one, whatever the names in the
// delivery are, it is stored under a legal subject.
func FuzzRequest(f *testing.F) {
	legal := regexp.MustCompile(`^plugfn\.(event|dead\.event)(\.[A-Za-z0-9_=-]{1,64})+$`)
	z := newFuzzed(f)
	z.seed(f)
	f.Fuzz(func(t *testing.T, raw []byte, genuine bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Skip("no request")
		}
		r.RemoteAddr = "192.0.2.1:4711"
		genuine = genuine && z.sign(r)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Skip("a body that breaks off")
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handshake := z.isHandshake(r, body)
		w := httptest.NewRecorder()
		z.mux.ServeHTTP(w, r.WithContext(t.Context()))
		subjects := z.published(t)
		if w.Code == http.StatusInternalServerError {
			t.Errorf("answered 500 %s", w.Body)
		}
		if !genuine && (len(subjects) > 0 || w.Code < 300 && !handshake) {
			t.Errorf("answered %d and stored %v without a signature", w.Code, subjects)
		}
		for _, subject := range subjects {
			if !legal.MatchString(subject) || len(subject) > 255 {
				t.Errorf("stored as %q", subject)
			}
		}
	})
}
