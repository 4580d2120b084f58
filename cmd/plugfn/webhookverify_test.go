package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// TestVerifyEveryFixture: what each shipped pack takes verifies from files, as
// somebody would have kept it, and does not once a byte of it is another.
func TestVerifyEveryFixture(t *testing.T) {
	packs, err := providers.LoadTested(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, pack := range packs {
		if pack.Webhooks == nil {
			continue
		}
		fixtures, err := pack.DeliveryFixtures()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for i := range fixtures {
			n++
			kept := keepFixture(t, dir, pack, &fixtures[i])
			kept.verifies(t, name+"/"+fixtures[i].Name)
		}
	}
	if n < 150 {
		t.Errorf("only %d fixtures", n)
	}
}

// keptFixture is a delivery in files.
type keptFixture struct {
	pack    *providers.Pack
	fixture *providers.DeliveryFixture
	options verifyOptions
	signed  *providers.Delivery
}

func keepFixture(t *testing.T, dir string, pack *providers.Pack, f *providers.DeliveryFixture) *keptFixture {
	t.Helper()
	d, err := f.Signed()
	if err != nil {
		t.Fatal(err)
	}
	k := &keptFixture{pack: pack, fixture: f, signed: d, options: verifyOptions{
		file: filepath.Join(dir, "request.http"), registered: f.Request.URL, at: f.At.Format(time.RFC3339Nano), pending: f.Pending,
	}}
	for i, secret := range f.Check().Secrets {
		kind, text := pack.Webhooks.KindOf(secret), secret.Reveal()
		if kind != pack.Webhooks.SecretKinds()[0].Name {
			text = bytes.TrimPrefix(text, []byte(kind+":"))
		}
		file := keepFile(t, filepath.Join(dir, fmt.Sprint("secret-", i)), append(text, '\n'))
		if i == 0 && kind == pack.Webhooks.SecretKinds()[0].Name {
			k.options.secretFile = file
		} else {
			k.options.secrets = append(k.options.secrets, kind+"="+file)
		}
	}
	k.keepKeys(t, dir)
	return k
}

func keepFile(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keepKeys writes what the signer publishes.
func (k *keptFixture) keepKeys(t *testing.T, dir string) {
	t.Helper()
	v := k.pack.Webhooks.VerifierFor(k.signed, k.fixture.Check())
	if v == nil || k.fixture.Expect.Verified == "" {
		return
	}
	if v.Certificate != nil {
		address, _ := k.pack.Webhooks.Text(k.signed, v.Certificate.From)
		certificate, err := k.fixture.Signer().Certificate(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		k.options.certFile = keepFile(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	if v.JWKS != "" {
		const id = "plugfn-example"
		key, err := k.fixture.Signer().Key(t.Context(), v.JWKS, id)
		if err != nil {
			t.Fatal(err)
		}
		set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: id, Use: "sig"}}})
		if err != nil {
			t.Fatal(err)
		}
		k.options.jwksFile = keepFile(t, filepath.Join(dir, "jwks.json"), set)
	}
}

// raw is the request as a tool writes it.
func raw(d *providers.Delivery) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: hooks.example.com\r\n", d.Method, d.URL.RequestURI())
	header := d.Header.Clone()
	header.Set("Content-Length", fmt.Sprint(len(d.Body)))
	_ = header.Write(&b) // a buffer takes all
	b.WriteString("\r\n")
	b.Write(d.Body)
	return b.Bytes()
}

// check runs what the command does with the request.
func (k *keptFixture) check(t *testing.T, d *providers.Delivery) *verification {
	t.Helper()
	keepFile(t, k.options.file, raw(d))
	c, err := k.options.check(k.pack, strings.NewReader(""))
	if err != nil {
		t.Fatalf("%s/%s: %v", k.pack.Name, k.fixture.Name, err)
	}
	return c.verify()
}

func (k *keptFixture) verifies(t *testing.T, name string) {
	t.Helper()
	want := &k.fixture.Expect
	got := k.check(t, k.signed)
	level, result := want.Verified, resultEvent
	if level == "" {
		level = string(events.VerifiedNone)
	}
	if want.Handshake != nil {
		result = resultHandshake
	}
	if !got.Verified || string(got.Level) != level || got.Result != result || result == resultEvent && got.Events != len(want.All()) {
		t.Errorf("%s: got %+v", name, got)
		return
	}
	if first := want.All(); len(first) > 0 && (got.ID != first[0].ID || got.Event != first[0].Event) {
		t.Errorf("%s: got event %s, %s", name, got.Event, got.ID)
	}
	if want.Verified == "" {
		return // nobody signs it
	}
	d := k.flipped(t)
	if got := k.check(t, d); got.Verified {
		t.Errorf("%s: verified with another byte: %+v", name, got)
	}
}

// flipped is the delivery with another byte in what the signature vouches for:
// the body, or else the signature.
func (k *keptFixture) flipped(t *testing.T) *providers.Delivery {
	t.Helper()
	d := *k.signed
	d.Header, d.Body = d.Header.Clone(), bytes.Clone(d.Body)
	if level := events.Verified(k.fixture.Expect.Verified); level == events.VerifiedBody || level == events.VerifiedBodyTime {
		d.Body[len(d.Body)/2] ^= 1
		return &d
	}
	w := k.pack.Webhooks
	from := w.VerifierFor(&d, k.fixture.Check()).Signature.From[0]
	text, _ := w.Text(&d, from)
	at := len(text) * 3 / 4
	other := byte('A')
	if text[at] == other {
		other = 'B'
	}
	if err := w.Put(&d, from, text[:at]+string(other)+text[at+1:]); err != nil {
		t.Fatal(err)
	}
	return &d
}

// TestVerifySaysWhatIsMissing: a key or a URL that is not given is asked for.
func TestVerifySaysWhatIsMissing(t *testing.T) {
	packs, err := providers.LoadTested(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	for provider, tt := range map[string]struct {
		without func(*verifyOptions)
		result  string
		detail  string
	}{
		"aws-sns":       {func(o *verifyOptions) { o.certFile = "" }, providers.ReasonNoKeys, "--cert-file"},
		"google-pubsub": {func(o *verifyOptions) { o.jwksFile = "" }, providers.ReasonNoKeys, "--jwks-file"},
		"square":        {func(o *verifyOptions) { o.registered = "" }, providers.ReasonNoURL, "--url"},
		"zoom":          {func(o *verifyOptions) { o.at = "2020-01-01T00:00:00Z" }, providers.ReasonFuture, "too far ahead"},
	} {
		fixtures, err := packs[provider].DeliveryFixtures()
		if err != nil {
			t.Fatal(err)
		}
		k := keepFixture(t, t.TempDir(), packs[provider], &fixtures[0])
		tt.without(&k.options)
		if got := k.check(t, k.signed); got.Verified || got.Result != tt.result || !strings.Contains(got.Detail, tt.detail) {
			t.Errorf("%s: got %+v", provider, got)
		}
	}
	if got := (&keptFixture{pack: packs["trello"], fixture: &providers.DeliveryFixture{}, options: verifyOptions{file: filepath.Join(t.TempDir(), "r"), secretFile: keepFile(t, filepath.Join(t.TempDir(), "s"), []byte("s"))}}).check(t,
		&providers.Delivery{Method: http.MethodPut, URL: &url.URL{Path: "/webhooks/trello"}, Header: http.Header{}}); got.Verified || got.Result != "method" {
		t.Errorf("a PUT: %+v", got)
	}
}
