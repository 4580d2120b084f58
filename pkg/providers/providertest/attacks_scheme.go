package providertest

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// parts changes what the message has besides the body: the endpoint's address,
// the method, headers and parameters. What is signed must not be changed, and
// what has to be there once must not be there twice.
func (a *target) parts() []attack {
	var all []attack
	mismatch := []string{providers.ReasonMismatch}
	if a.verifier.BindsURL() {
		all = append(all,
			attack{"another address of the endpoint", func(_ *providers.Delivery, c *providers.Check) {
				c.URL = strings.Replace(c.URL, "://", "://other.", 1)
			}, mismatch},
			attack{
				"an address that is not known", func(_ *providers.Delivery, c *providers.Check) { c.URL = "" },
				[]string{providers.ReasonNoURL, providers.ReasonMismatch},
			})
	}
	if a.verifier.BindsMethod() {
		all = append(all, attack{"another method", func(d *providers.Delivery, _ *providers.Check) { d.Method = "PUT" }, mismatch})
	}
	for _, s := range a.verifier.Parts() {
		missing := []string{providers.ReasonMissingHeader, providers.ReasonMismatch, providers.ReasonMalformed}
		all = append(all, attack{"a changed " + s.String(), func(d *providers.Delivery, _ *providers.Check) {
			a.put(d, s, a.text(d, s)+"x")
		}, missing})
		if name := headerName(s); name != "" {
			all = append(all,
				attack{"no " + s.String(), func(d *providers.Delivery, _ *providers.Check) { d.Header.Del(name) }, missing},
				attack{
					"two of " + s.String(), func(d *providers.Delivery, _ *providers.Check) { d.Header.Add(name, d.Header.Get(name)) },
					[]string{providers.ReasonDuplicateHeader, providers.ReasonMismatch},
				})
		}
		if name, ok := strings.CutPrefix(s.String(), "query:"); ok {
			all = append(all, attack{"two of " + s.String(), func(d *providers.Delivery, _ *providers.Check) {
				u := *d.URL
				u.RawQuery += "&" + url.Values{name: {a.text(d, s)}}.Encode()
				d.URL = &u
			}, []string{providers.ReasonDuplicateHeader, providers.ReasonMismatch}})
		}
	}
	return all
}

// remote names other places of certificates, has keys that cannot be fetched,
// and senders of other networks.
func (a *target) remote() []attack {
	var all []attack
	v := a.verifier
	away := attack{"keys that cannot be fetched", func(_ *providers.Delivery, c *providers.Check) { c.Keys = unreachable{} }, []string{providers.ReasonNoKeys}}
	nobody := attack{"nobody who fetches keys", func(_ *providers.Delivery, c *providers.Check) { c.Keys = nil }, []string{providers.ReasonNoKeys}}
	none := attack{"a key that there is not", func(_ *providers.Delivery, c *providers.Check) { c.Keys = keyless{} }, []string{providers.ReasonUnknownKey}}
	if v.Certificate != nil {
		all = append(all, away, nobody, none)
		host := strings.ReplaceAll(v.Certificate.Hosts[0].String(), "*", "x")
		for _, address := range []string{
			"https://" + host + ".evil.example/a.pem", "https://evil.example/" + host, "https://" + host + "@evil.example/a.pem",
			"https://evil.example#@" + host + "/", "http://" + host + "/a.pem", "https://" + host + ":8443/a.pem", "https://evil" + host + "/a.pem",
			"https://" + host + "./a.pem", "https://user@" + host + "/a.pem", "https://" + host + "\\@evil.example/", "//" + host + "/a.pem",
			"https://" + strings.ToUpper(host) + "/a.pem", "https://x." + host + "/a.pem", "https:" + host + "/a.pem", "https://" + host, "file:///etc/passwd",
			"https://" + host + "/a.pem?again=1",
		} {
			all = append(all, attack{"the certificate at " + address, func(d *providers.Delivery, c *providers.Check) {
				a.put(d, v.Certificate.From, address)
			}, []string{providers.ReasonUnknownKey}})
		}
	}
	if v.JWKS != "" {
		all = append(all, away, nobody, none)
	}
	if v.Scheme == "network" || slices.ContainsFunc(v.Also, func(v *providers.Verifier) bool { return v.Scheme == "network" }) {
		for _, peer := range []netip.Addr{{}, netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("::ffff:198.51.100.7")} {
			all = append(all, attack{"sent from " + peer.String(), func(d *providers.Delivery, _ *providers.Check) { d.Peer = peer }, []string{providers.ReasonNetwork}})
		}
	}
	if v.Scheme == "none" {
		all = append(all, attack{"an operator who has not accepted it", func(_ *providers.Delivery, c *providers.Check) { c.AllowNone = false }, []string{providers.ReasonUnsigned}})
	}
	if v.Scheme == "callback" {
		all = append(all,
			attack{"a provider that cannot be asked", func(_ *providers.Delivery, c *providers.Check) { c.Caller = nil }, []string{providers.ReasonNoCall}},
			attack{"a provider that does not answer", func(_ *providers.Delivery, c *providers.Check) { c.Caller = unreachable{} }, []string{providers.ReasonNoCall}})
	}
	return all
}

// unreachable is an outside that cannot be reached.
type unreachable struct{}

var errUnreachable = errors.New("unreachable")

func (unreachable) Certificate(context.Context, string) (*x509.Certificate, error) {
	return nil, errUnreachable
}

func (unreachable) Key(context.Context, string, string) (crypto.PublicKey, error) {
	return nil, errUnreachable
}

func (unreachable) Call(context.Context, providers.Call) (providers.CallAnswer, error) {
	return providers.CallAnswer{}, errUnreachable
}

// keyless is an issuer that has no such key.
type keyless struct{}

func (keyless) Certificate(context.Context, string) (*x509.Certificate, error) {
	return nil, providers.ErrNoKey
}

func (keyless) Key(context.Context, string, string) (crypto.PublicKey, error) {
	return nil, providers.ErrNoKey
}

// tokens changes a JWT: its algorithm, its times, whom it is for.
func (a *target) tokens() []attack {
	from := a.place()
	edit := func(change func(head, claims, signature string) string) func(*providers.Delivery, *providers.Check) {
		return func(d *providers.Delivery, _ *providers.Check) {
			text := a.text(d, from)
			start := a.start(text)
			parts := strings.Split(text[start:], ".")
			a.put(d, from, text[:start]+change(parts[0], parts[1], parts[2]))
		}
	}
	encoded := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	broken := []string{providers.ReasonMalformed, providers.ReasonMismatch}
	later := func(by time.Duration) func(*providers.Delivery, *providers.Check) {
		return func(d *providers.Delivery, _ *providers.Check) { d.ReceivedAt = d.ReceivedAt.Add(by) }
	}
	all := []attack{
		{"the algorithm none", edit(func(_, c, _ string) string { return encoded(`{"alg":"none"}`) + "." + c + "." }), broken},
		{"the algorithm none with a signature", edit(func(_, c, s string) string { return encoded(`{"alg":"none"}`) + "." + c + "." + s }), broken},
		{"the algorithm None", edit(func(_, c, s string) string { return encoded(`{"alg":"None"}`) + "." + c + "." + s }), broken},
		{"other claims", edit(func(h, _, s string) string { return h + "." + encoded(`{"exp":9999999999,"iat":1}`) + "." + s }), broken},
		{"no claims", edit(func(h, _, s string) string { return h + ".." + s }), broken},
		{"no signature of the token", edit(func(h, c, _ string) string { return h + "." + c + "." }), broken},
		{"an expired token", later(10 * time.Minute), []string{providers.ReasonStale}},
		{"a token of the future", later(-10 * time.Minute), []string{providers.ReasonFuture}},
	}
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "PS512", "EdDSA"} {
		if !slices.Contains(a.verifier.Algorithms, algorithm) {
			all = append(all, attack{"the algorithm " + algorithm, edit(func(_, c, s string) string {
				return encoded(`{"alg":"`+algorithm+`","kid":"plugfn-example"}`) + "." + c + "." + s
			}), broken})
		}
	}
	if len(a.verifier.Audience) > 0 {
		all = append(all, attack{"a token for others", func(d *providers.Delivery, c *providers.Check) {
			if err := a.fixture.Signer().For(a.othersAudience(c.Secrets)).Sign(d, "https://others.example/"); err != nil {
				a.t.Fatal(err)
			}
		}, []string{providers.ReasonMismatch}})
	}
	return all
}

// othersAudience are the secrets of an endpoint that tokens for another audience
// are made with: where one is a secret, another address alone makes no other
// token.
func (a *target) othersAudience(secrets []providers.Secret) []providers.Secret {
	kinds := a.verifier.AudienceSecrets()
	others := slices.DeleteFunc(slices.Clone(secrets), func(s providers.Secret) bool {
		return slices.Contains(kinds, a.pack.Webhooks.KindOf(s))
	})
	for _, kind := range kinds {
		others = append(others, providers.NewSecret([]byte(kind+":of-others")))
	}
	return others
}
