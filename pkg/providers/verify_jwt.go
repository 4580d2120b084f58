package providers

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// clockSkew is how far the issuer's clock may be off.
const clockSkew = time.Minute

// maxToken is the longest JWT in bytes.
const maxToken = 16 << 10

// jwtAlgorithms lists what a JWT may be signed with. "none" is not among them.
func jwtAlgorithms() []string {
	return []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// symmetric tells whether the key of a JWT is a secret that both sides know.
func (v *Verifier) symmetric() bool {
	return v.Scheme == "jwt" && slices.ContainsFunc(v.Algorithms, func(a string) bool { return strings.HasPrefix(a, "HS") })
}

// proveJWT checks the token of a delivery. Which algorithms count says the pack,
// never the token.
func (v *Verifier) proveJWT(ctx context.Context, in *inspection) (int, error) {
	texts, err := v.Signature.texts(in)
	if err != nil {
		return 0, err
	}
	if len(texts) != 1 || len(texts[0]) > maxToken {
		return 0, refused(ReasonMalformed)
	}
	algorithms := make([]jose.SignatureAlgorithm, len(v.Algorithms))
	for i, a := range v.Algorithms {
		algorithms[i] = jose.SignatureAlgorithm(a)
	}
	token, err := jose.ParseSignedCompact(texts[0], algorithms)
	if err != nil {
		return 0, refused(ReasonMalformed)
	}
	if v.JWKS != "" { // nobody has us fetch keys for a token that no key could make good
		err := v.judge(in, token.UnsafePayloadWithoutVerification())
		in.claims = nil
		if err != nil {
			return 0, err
		}
	}
	key, payload, err := v.openJWT(ctx, in, token)
	if err != nil {
		return 0, err
	}
	return key, v.judge(in, payload)
}

// judge checks what a token says, and leaves it in in.
func (v *Verifier) judge(in *inspection, payload []byte) (err error) {
	if in.claims, err = parseJSON(payload); err != nil {
		return refused(ReasonMalformed)
	}
	if err := v.checkClaims(in); err != nil {
		return err
	}
	return v.settle(in)
}

// openJWT returns what a key vouches for, and the index of the secret that is
// the key.
func (v *Verifier) openJWT(ctx context.Context, in *inspection, token *jose.JSONWebSignature) (int, []byte, error) {
	if v.JWKS != "" {
		if in.c.Keys == nil {
			return 0, nil, refused(ReasonNoKeys)
		}
		key, err := in.c.Keys.Key(ctx, v.JWKS, token.Signatures[0].Header.KeyID)
		if err != nil {
			return 0, nil, keyRefusal(err)
		}
		if !v.takes(key) {
			return 0, nil, refused(ReasonUnknownKey)
		}
		payload, err := token.Verify(key)
		if err != nil {
			return 0, nil, refused(ReasonMismatch)
		}
		return -1, payload, nil
	}
	found, usable := -1, false
	var payload []byte
	for i := range in.c.Secrets {
		written, ok := in.secret(i, v.Secret)
		if !ok {
			continue
		}
		key, err := v.jwtKey(written)
		if err != nil {
			continue
		}
		usable = true
		if opened, err := token.Verify(key); err == nil && found < 0 {
			found, payload = i, opened
		}
	}
	_, err := proven(found, usable)
	return found, payload, err
}

func (v *Verifier) jwtKey(written []byte) (any, error) {
	if v.symmetric() {
		return decodeKey(v.Key, written)
	}
	return v.publicKey(written)
}

// checkClaims judges when the token is good, by whom it is and for whom. One
// that is good for ever must say in a claim when it was made.
func (v *Verifier) checkClaims(in *inspection) error {
	claims, ok := in.claims.(map[string]any)
	if !ok {
		return refused(ReasonMalformed)
	}
	now := in.d.ReceivedAt
	expires, limited, ok := claimTime(claims, "exp")
	if !ok || !limited && (v.Timestamp == nil || v.Timestamp.From.kind != sourceClaim) {
		return refused(ReasonMalformed)
	}
	if limited && !now.Before(expires.Add(clockSkew)) {
		return refused(ReasonStale)
	}
	for _, name := range []string{"nbf", "iat"} {
		at, there, ok := claimTime(claims, name)
		if !ok {
			return refused(ReasonMalformed)
		}
		if there && at.After(now.Add(clockSkew)) {
			return refused(ReasonFuture)
		}
	}
	if len(v.Issuer) > 0 && !oneOf(in, claims["iss"], v.Issuer) || len(v.Audience) > 0 && !oneOf(in, claims["aud"], v.Audience) {
		return refused(ReasonMismatch)
	}
	return nil
}

// claimTime reads seconds since 1970; ok is false when they are something else.
func claimTime(claims map[string]any, name string) (at time.Time, there, ok bool) {
	v, there := claims[name]
	if !there {
		return at, false, true
	}
	n, ok := v.(json.Number)
	if !ok {
		return at, true, false
	}
	seconds, _, _ := strings.Cut(n.String(), ".") // RFC 7519 allows fractions
	at, ok = parseTime(seconds, "unix")
	return at, true, ok
}

// oneOf tells whether a claim, or one text of its list, is as expected.
func oneOf(in *inspection, claim any, want []Expected) bool {
	list, ok := claim.([]any)
	if !ok {
		list = []any{claim}
	}
	for _, one := range list {
		text, ok := one.(string)
		if ok && slices.ContainsFunc(want, func(e Expected) bool { return e.is(in, text) }) {
			return true
		}
	}
	return false
}
