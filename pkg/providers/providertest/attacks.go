package providertest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// attack is a change of a genuine delivery, and why it is then refused.
type attack struct {
	name   string
	change func(*providers.Delivery)
	reason string
}

// attacks subjects a genuine delivery to the changes that no verifier may let
// pass, and to those that it has to.
func attacks(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	v := pack.Webhooks.Verifiers[0]
	all := signatureAttacks(v)
	if events.Verified(f.Expect.Verified) != events.VerifiedOrigin {
		all = append(all, bodyAttacks(len(f.Request.Body))...)
	}
	if v.Timestamp != nil {
		all = append(all, timeAttacks(v)...)
	}
	for _, a := range all {
		d := signedDelivery(t, pack, f)
		a.change(d)
		_, err := pack.Webhooks.Verify(d, []providers.Secret{secretOf(f)})
		refusedFor(t, a.name, err, a.reason)
	}
	secrets(t, pack, f)
	upperCase(t, pack, f)
}

func refusedFor(t *testing.T, what string, err error, reason string) {
	t.Helper()
	var refusal *providers.VerifyError
	if !errors.As(err, &refusal) {
		t.Errorf("%s: gives %v, want to be refused as %s", what, err, reason)
	} else if refusal.Reason != reason {
		t.Errorf("%s: refused as %s, want %s", what, refusal.Reason, reason)
	}
}

// headerOf is the name of the header that a source reads.
func headerOf(s providers.Source) string { return strings.TrimPrefix(s.String(), "header:") }

// signatureStart is where in its header the encoded signature begins.
func signatureStart(v *providers.Verifier, header string) int {
	mark := v.Signature.Prefix
	if v.Signature.Pick != "" {
		mark = v.Signature.Pick + "=" + mark
	}
	if mark == "" {
		return 0
	}
	return strings.LastIndex(header, mark) + len(mark)
}

// flip changes a character of hex, base64 or text into another of the kind.
func flip(text string, at int) string {
	c := "a"
	if text[at] == 'a' {
		c = "b"
	}
	return text[:at] + c + text[at+1:]
}

func signatureAttacks(v *providers.Verifier) []attack {
	name := headerOf(v.Signature.From)
	set := func(change func(value string, start int) string) func(*providers.Delivery) {
		return func(d *providers.Delivery) {
			value := d.Header.Get(name)
			d.Header.Set(name, change(value, signatureStart(v, value)))
		}
	}
	return []attack{
		{"no signature", func(d *providers.Delivery) { d.Header.Del(name) }, providers.ReasonMissingHeader},
		{"an empty signature", set(func(string, int) string { return "" }), providers.ReasonMissingHeader},
		{"two signatures", func(d *providers.Delivery) { d.Header.Add(name, d.Header.Get(name)) }, providers.ReasonDuplicateHeader},
		{"a changed signature", set(flip), providers.ReasonMismatch},
		{"half a signature", set(func(value string, start int) string { return value[:(start+len(value))/2] }), providers.ReasonMalformed},
		{"a signature without its end", set(func(value string, _ int) string { return value[:len(value)-2] }), providers.ReasonMalformed},
		{"a signature without its value", set(func(value string, start int) string { return value[:start] + " " }), providers.ReasonMalformed},
		{"a signature that is no text", set(func(value string, start int) string { return value[:start] + "\x00\xff" }), providers.ReasonMalformed},
		{"10,000 signatures", set(func(value string, _ int) string { return strings.Repeat(value+",", 10_000) }), providers.ReasonMalformed},
	}
}

func bodyAttacks(size int) []attack {
	var all []attack
	for _, at := range []int{0, size / 2, size - 1} {
		all = append(all, attack{"a changed byte of the body", func(d *providers.Delivery) {
			d.Body = slices.Clone(d.Body)
			d.Body[at] ^= 1
		}, providers.ReasonMismatch})
	}
	return append(all,
		attack{"a body without its end", func(d *providers.Delivery) { d.Body = d.Body[:size-1] }, providers.ReasonMismatch},
		attack{"a body with more", func(d *providers.Delivery) { d.Body = append(slices.Clip(d.Body), '\n') }, providers.ReasonMismatch},
		attack{"no body", func(d *providers.Delivery) { d.Body = nil }, providers.ReasonMismatch},
	)
}

func timeAttacks(v *providers.Verifier) []attack {
	name := headerOf(v.Timestamp.From)
	later := func(by time.Duration) func(*providers.Delivery) {
		return func(d *providers.Delivery) { d.ReceivedAt = d.ReceivedAt.Add(by) }
	}
	edge := v.Timestamp.Tolerance + time.Second
	all := []attack{
		{"sent too long ago", later(edge), providers.ReasonStale},
		{"sent in the future", later(-edge), providers.ReasonFuture},
		{"at no time", func(d *providers.Delivery) { d.ReceivedAt = time.Time{} }, providers.ReasonFuture},
	}
	if v.Timestamp.Pick == "" {
		all = append(all,
			attack{"no timestamp", func(d *providers.Delivery) { d.Header.Del(name) }, providers.ReasonMissingHeader},
			attack{"two timestamps", func(d *providers.Delivery) { d.Header.Add(name, d.Header.Get(name)) }, providers.ReasonDuplicateHeader})
	}
	for _, text := range []string{"Infinity", "NaN", "-1", "+1", "1e9", "1.5", "0x10", "12345678901234567890", "now", "1 2"} {
		all = append(all, attack{"the timestamp " + text, func(d *providers.Delivery) {
			value := text
			if pick := v.Timestamp.Pick; pick != "" {
				_, rest, _ := strings.Cut(d.Header.Get(name), pick+"=")
				_, rest, _ = strings.Cut(rest, v.Timestamp.Split)
				value = pick + "=" + text + v.Timestamp.Split + rest
			}
			d.Header.Set(name, value)
		}, providers.ReasonMalformed})
	}
	return all
}

// secrets tries lists of secrets: none, none that is usable, others, several.
func secrets(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	right := secretOf(f)
	start := 0
	if rest, ok := strings.CutPrefix(f.Secret, "whsec_"); ok {
		start = len(f.Secret) - len(rest)
	}
	wrong := providers.NewSecret([]byte(flip(f.Secret, start)))
	d := signedDelivery(t, pack, f)
	_, err := pack.Webhooks.Verify(d, nil)
	refusedFor(t, "no secret", err, providers.ReasonNoSecret)
	_, err = pack.Webhooks.Verify(d, []providers.Secret{{}})
	refusedFor(t, "an empty secret", err, providers.ReasonNoSecret)
	_, err = pack.Webhooks.Verify(d, []providers.Secret{wrong, {}})
	refusedFor(t, "another secret", err, providers.ReasonMismatch)
	if v, err := pack.Webhooks.Verify(d, []providers.Secret{wrong, right}); err != nil || v.Key != 1 {
		t.Errorf("the second secret of two: gives %+v, %v; want key 1", v, err)
	}
}

// upperCase writes the signature in upper case, which means the same in hex.
func upperCase(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	v := pack.Webhooks.Verifiers[0]
	if v.Signature.Encoding != "hex" {
		return
	}
	d := signedDelivery(t, pack, f)
	name := headerOf(v.Signature.From)
	value := d.Header.Get(name)
	start := signatureStart(v, value)
	d.Header.Set(name, value[:start]+strings.ToUpper(value[start:]))
	if _, err := pack.Webhooks.Verify(d, []providers.Secret{secretOf(f)}); err != nil {
		t.Errorf("hex in upper case: %v", err)
	}
}
