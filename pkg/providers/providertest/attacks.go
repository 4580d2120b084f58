package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// attack is a change of a genuine delivery or of what the endpoint knows, and
// why it is then refused.
type attack struct {
	name    string
	change  func(*providers.Delivery, *providers.Check)
	reasons []string // one of them
}

// target is what is attacked.
type target struct {
	t        T
	pack     *providers.Pack
	fixture  providers.DeliveryFixture
	verifier *providers.Verifier
}

// attacks subjects a genuine delivery to the changes that no verifier may let
// pass, and to those that it has to.
func attacks(t T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	d := signedDelivery(t, f)
	v := pack.Webhooks.VerifierFor(d, f.Check())
	a := target{t: t, pack: pack, fixture: f, verifier: v}
	var all []attack
	if len(v.Signature.From) > 0 {
		all = append(all, a.signatures()...)
	}
	if level := events.Verified(f.Expect.Verified); level == events.VerifiedBody || level == events.VerifiedBodyTime {
		all = append(all, a.bodies(len(d.Body))...)
	}
	if v.Timestamp != nil {
		all = append(all, a.times()...)
	}
	if v.Scheme == "jwt" {
		all = append(all, a.tokens()...)
	}
	all = append(all, a.parts()...)
	all = append(all, a.remote()...)
	for _, one := range all {
		d, check := signedDelivery(t, f), f.Check()
		one.change(d, &check)
		_, err := pack.Webhooks.Verify(context.Background(), d, check)
		refusedFor(t, one.name, err, one.reasons...)
	}
	a.secrets()
	a.upperCase()
}

func refusedFor(t T, what string, err error, reasons ...string) {
	t.Helper()
	var refusal *providers.VerifyError
	if !errors.As(err, &refusal) {
		t.Errorf("%s: gives %v, want to be refused as %v", what, err, reasons)
	} else if !slices.Contains(reasons, refusal.Reason) {
		t.Errorf("%s: refused as %s, want %v", what, refusal.Reason, reasons)
	}
}

// place is where the signature is.
func (a *target) place() providers.Source { return a.verifier.Signature.From[0] }

// headerName is the name of the header that a source reads, "" for another.
func headerName(s providers.Source) string {
	name, ok := strings.CutPrefix(s.String(), "header:")
	if !ok {
		return ""
	}
	return name
}

func (a *target) text(d *providers.Delivery, s providers.Source) string {
	text, _ := a.pack.Webhooks.Text(d, s)
	return text
}

func (a *target) put(d *providers.Delivery, s providers.Source, text string) {
	a.t.Helper()
	if err := a.pack.Webhooks.Put(d, s, text); err != nil {
		a.t.Fatalf("changing %s: %v", s, err)
	}
}

// start is where in its place the encoded signature begins.
func (a *target) start(text string) int {
	mark := a.verifier.Signature.Prefix
	if pick := a.verifier.Signature.Pick; pick != "" {
		mark = pick + "=" + mark
	}
	if mark == "" {
		return 0
	}
	return strings.LastIndex(text, mark) + len(mark)
}

// flip changes a character of hex, base64 or text into another of the kind.
func flip(text string, at int) string {
	c := "a"
	if text[at] == 'a' {
		c = "b"
	}
	return text[:at] + c + text[at+1:]
}

// signatures changes what the signature's place holds.
func (a *target) signatures() []attack {
	from, name := a.place(), headerName(a.place())
	set := func(change func(value string, start int) string) func(*providers.Delivery, *providers.Check) {
		return func(d *providers.Delivery, _ *providers.Check) {
			value := a.text(d, from)
			a.put(d, from, change(value, a.start(value)))
		}
	}
	broken := []string{providers.ReasonMalformed, providers.ReasonMismatch, providers.ReasonMissingHeader, providers.ReasonDenied}
	all := []attack{
		{"an empty signature", set(func(string, int) string { return "" }), []string{providers.ReasonMissingHeader, providers.ReasonMismatch, providers.ReasonDenied}},
		{"a changed signature", set(flip), broken},
		{"half a signature", set(func(value string, start int) string { return value[:(start+len(value))/2] }), broken},
		{"a signature without its end", set(func(value string, _ int) string { return value[:len(value)-2] }), broken},
		{"a signature without its value", set(func(value string, start int) string { return value[:start] + " " }), broken},
		{"a signature that is no text", set(func(value string, start int) string { return value[:start] + "\x00\xff" }), broken},
		{"10,000 signatures", set(func(value string, _ int) string { return strings.Repeat(value+",", 10_000) }), broken},
	}
	if name != "" {
		all = append(all,
			attack{"no signature", func(d *providers.Delivery, _ *providers.Check) { d.Header.Del(name) }, []string{providers.ReasonMissingHeader}},
			attack{"two signatures", func(d *providers.Delivery, _ *providers.Check) { d.Header.Add(name, d.Header.Get(name)) }, []string{providers.ReasonDuplicateHeader}})
	}
	return all
}

// bodies changes the body.
func (a *target) bodies(size int) []attack {
	refusal := []string{
		providers.ReasonMismatch, providers.ReasonMalformed, providers.ReasonMissingHeader, providers.ReasonUnknownKey,
		providers.ReasonDenied, providers.ReasonStale, providers.ReasonFuture,
	}
	var all []attack
	for _, at := range []int{0, size / 2, size - 1} {
		all = append(all, attack{"a changed byte of the body", func(d *providers.Delivery, _ *providers.Check) {
			d.Body = slices.Clone(d.Body)
			d.Body[at] ^= 1
		}, refusal})
	}
	return append(all,
		attack{"a body without its end", func(d *providers.Delivery, _ *providers.Check) { d.Body = d.Body[:size-1] }, refusal},
		attack{"a body with more", func(d *providers.Delivery, _ *providers.Check) { d.Body = append(slices.Clip(d.Body), 'x') }, refusal},
		attack{"no body", func(d *providers.Delivery, _ *providers.Check) { d.Body = nil }, refusal},
	)
}

// times changes when the delivery was sent.
func (a *target) times() []attack {
	stamp := a.verifier.Timestamp
	name := headerName(stamp.From)
	later := func(by time.Duration) func(*providers.Delivery, *providers.Check) {
		return func(d *providers.Delivery, _ *providers.Check) { d.ReceivedAt = d.ReceivedAt.Add(by) }
	}
	edge := stamp.Tolerance + time.Second
	all := []attack{
		{"sent too long ago", later(edge), []string{providers.ReasonStale}},
		{"sent in the future", later(-edge), []string{providers.ReasonFuture}},
		{"at no time", func(d *providers.Delivery, _ *providers.Check) { d.ReceivedAt = time.Time{} }, []string{providers.ReasonFuture}},
	}
	if strings.HasPrefix(stamp.From.String(), "claim:") {
		return all
	}
	if stamp.Pick == "" && name != "" {
		all = append(all,
			attack{"no timestamp", func(d *providers.Delivery, _ *providers.Check) { d.Header.Del(name) }, []string{providers.ReasonMissingHeader}},
			attack{"two timestamps", func(d *providers.Delivery, _ *providers.Check) { d.Header.Add(name, d.Header.Get(name)) }, []string{providers.ReasonDuplicateHeader}})
	}
	for _, text := range []string{"Infinity", "NaN", "-1", "+1", "1e9", "1.5", "0x10", "12345678901234567890", "now", "1 2"} {
		all = append(all, attack{"the timestamp " + text, func(d *providers.Delivery, _ *providers.Check) {
			value := text
			if pick := stamp.Pick; pick != "" {
				_, rest, _ := strings.Cut(a.text(d, stamp.From), pick+"=")
				_, rest, _ = strings.Cut(rest, stamp.Split)
				value = pick + "=" + text + stamp.Split + rest
			}
			a.put(d, stamp.From, value)
		}, []string{providers.ReasonMalformed}})
	}
	return all
}

// secrets tries lists of secrets: none, none that is usable, others, several.
func (a *target) secrets() {
	a.t.Helper()
	right := a.fixture.Check().Secrets
	wrong := a.pack.Webhooks.NewSigner(nil, providers.NewSecret([]byte("another-seed"))).Secrets()
	verify := func(secrets []providers.Secret) (providers.Verdict, error) {
		check := a.fixture.Check()
		check.Secrets = secrets
		return a.pack.Webhooks.Verify(context.Background(), signedDelivery(a.t, a.fixture), check)
	}
	if !a.verifier.UsesKey() {
		return
	}
	_, err := verify(nil)
	refusedFor(a.t, "no secret", err, providers.ReasonNoSecret)
	_, err = verify([]providers.Secret{{}})
	refusedFor(a.t, "an empty secret", err, providers.ReasonNoSecret, providers.ReasonMismatch)
	_, err = verify(append(slices.Clone(wrong), providers.Secret{}))
	refusedFor(a.t, "another secret", err, providers.ReasonMismatch)
	if v, err := verify(append(slices.Clone(wrong), right...)); err != nil || v.Key < len(wrong) {
		a.t.Errorf("the second secret of two: gives %+v, %v; want key %d or one behind it", v, err, len(wrong))
	}
}

// upperCase writes the signature in upper case, which means the same in hex.
func (a *target) upperCase() {
	a.t.Helper()
	if a.verifier.Signature.Encoding != "hex" {
		return
	}
	d := signedDelivery(a.t, a.fixture)
	value := a.text(d, a.place())
	start := a.start(value)
	a.put(d, a.place(), value[:start]+strings.ToUpper(value[start:]))
	if _, err := a.pack.Webhooks.Verify(context.Background(), d, a.fixture.Check()); err != nil {
		a.t.Errorf("hex in upper case: %v", err)
	}
}

// handshakeAttacks changes a handshake that nobody signs.
func handshakeAttacks(t T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	d, check := signedDelivery(t, f), f.Check()
	d.Method = "PUT"
	if reply, ok := pack.Webhooks.UnsignedHandshake(d, check); ok {
		t.Errorf("with another method it is answered %+v", reply)
	}
	for _, s := range pack.Webhooks.Echoes(signedDelivery(t, f), check) {
		for _, text := range []string{"<script>", "a\"b", `{"a":1}`, "v0:1:{}", "a\nb", strings.Repeat("x", 257), "é", "\x00"} {
			d := signedDelivery(t, f)
			if err := pack.Webhooks.Put(d, s, text); err != nil {
				t.Fatal(err)
			}
			if reply, ok := pack.Webhooks.UnsignedHandshake(d, check); ok {
				t.Errorf("%q at %s is answered %q", clip(text), s, reply.Body)
			}
		}
	}
	oracle(t, pack, f)
	check.Secrets = pack.Webhooks.NewSigner(nil, providers.NewSecret([]byte("another-seed"))).Secrets()
	if slices.ContainsFunc(pack.Webhooks.SecretKinds(), func(k providers.SecretKind) bool { return k.Example != "" }) {
		return // an example is the same for everybody
	}
	if reply, ok := pack.Webhooks.UnsignedHandshake(signedDelivery(t, f), check); ok && pack.Webhooks.GuardsHandshake(signedDelivery(t, f), f.Check()) {
		t.Errorf("with other secrets it is answered %+v", reply)
	}
	if f.Pending {
		d, check := signedDelivery(t, f), f.Check()
		check.Pending = false
		if reply, ok := pack.Webhooks.UnsignedHandshake(d, check); ok && reply.Learn.Reveal() != nil {
			t.Errorf("a confirmed endpoint learns another secret")
		}
	}
}

// oracle has a handshake answered whose text could be a body, and sends that
// body with everything in the answer as its signature.
func oracle(t T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	for _, s := range pack.Webhooks.Echoes(signedDelivery(t, f), f.Check()) {
		for _, text := range []string{"1234", "true", "null", "a=b", "abc"} {
			asked := signedDelivery(t, f)
			if err := pack.Webhooks.Put(asked, s, text); err != nil {
				t.Fatal(err)
			}
			reply, ok := pack.Webhooks.UnsignedHandshake(asked, f.Check())
			if !ok {
				continue
			}
			var answer map[string]any
			_ = json.Unmarshal(reply.Body, &answer) // what is no object signs nothing
			for _, signature := range answer {
				for _, v := range pack.Webhooks.Verifiers {
					d := &providers.Delivery{Method: "POST", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(text), ReceivedAt: f.At}
					if len(v.Signature.From) == 0 || pack.Webhooks.Put(d, v.Signature.From[0], fmt.Sprint(signature)) != nil {
						continue
					}
					if _, err := pack.Webhooks.Verify(t.Context(), d, f.Check()); err == nil {
						t.Errorf("the answer to %q is a signature of it: %v", text, signature)
					}
				}
			}
		}
	}
}

func clip(text string) string { return text[:min(len(text), 40)] }
