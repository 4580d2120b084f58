package providers

import (
	"context"
	"crypto/hmac"
	"errors"

	"github.com/plugfn/plugfn/pkg/events"
)

// Verdict is what the signature of a delivery proves.
type Verdict struct {
	Level events.Verified
	Key   int // index of the secret that made the signature, -1: none of them did
}

// Verify tells whether d is genuine, and was sent at a time near d.ReceivedAt
// where the sender signs one. The first verifier of the pack that applies and
// whose signature is there decides. The error is always a *[VerifyError];
// whoever gets one must not act on the delivery in any way.
func (w *Webhooks) Verify(ctx context.Context, d *Delivery, c Check) (Verdict, error) {
	in := &inspection{w: w, d: d, c: c}
	if len(c.Secrets) == 0 && w.NeedsSecret() {
		return Verdict{}, refused(ReasonNoSecret)
	}
	for _, v := range w.Verifiers {
		if v.applies(in) {
			return v.verify(ctx, in)
		}
	}
	return Verdict{}, refused(ReasonMissingHeader)
}

// NeedsSecret tells whether no delivery can be verified without a secret of the
// endpoint.
func (w *Webhooks) NeedsSecret() bool {
	for _, v := range w.Verifiers {
		if len(v.kinds()) == 0 {
			return false
		}
	}
	return true
}

// SecretKinds lists the kinds of secrets that an endpoint has, the first of
// which is written without its name.
func (w *Webhooks) SecretKinds() []SecretKind { return w.Secrets }

// CheckSecret tells whether a secret is written in a form that the pack can
// use. The error does not show it.
func (w *Webhooks) CheckSecret(secret Secret) error {
	if secret.IsZero() {
		return errors.New("the secret is empty")
	}
	var problems []error
	for _, v := range w.Verifiers {
		written, ok := w.kindOf(secret, v.Secret)
		if !ok || !v.UsesKey() {
			continue
		}
		err := v.checkKey(written)
		if err == nil {
			return nil
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// applies tells whether the delivery is one for this verifier.
func (v *Verifier) applies(in *inspection) bool {
	if len(v.When) > 0 && !in.meets(v.When) {
		return false
	}
	return len(v.Signature.From) == 0 || v.Signature.From.present(in)
}

func (p Places) present(in *inspection) bool {
	for _, s := range p {
		if s.kind == sourceItem || in.present(s) {
			return true
		}
	}
	return false
}

func (v *Verifier) verify(ctx context.Context, in *inspection) (Verdict, error) {
	key, err := v.prove(ctx, in)
	if err != nil {
		return Verdict{}, err
	}
	for _, also := range v.Also {
		if _, err := also.prove(ctx, in); err != nil {
			return Verdict{}, err
		}
	}
	return Verdict{Level: v.binding(), Key: key}, nil
}

// prove returns the index of the secret that proves the delivery genuine, -1
// when it takes none. What is cheap comes first: shape, time, what is expected,
// then hashing the body, and keys from elsewhere last.
func (v *Verifier) prove(ctx context.Context, in *inspection) (int, error) {
	in.verifier, in.stamp = v, ""
	switch v.Scheme {
	case "hmac":
		return v.proveMAC(in)
	case "ed25519", "ecdsa", "rsa":
		return v.provePublic(ctx, in)
	case "jwt":
		return v.proveJWT(ctx, in)
	case "token":
		return v.proveToken(in)
	case "basic":
		return v.proveBasic(in)
	case "network":
		return v.proveNetwork(in)
	case "callback":
		return v.proveCallback(ctx, in)
	default:
		return v.proveNone(in)
	}
}

// settle checks all that needs no key: the time, what is expected, the hash of
// the body.
func (v *Verifier) settle(in *inspection) error {
	var err error
	if v.Timestamp != nil {
		if in.stamp, err = v.Timestamp.read(in); err != nil {
			return err
		}
	}
	if len(v.Expect) > 0 && !in.meets(v.Expect) {
		return refused(ReasonMismatch)
	}
	if v.BodyHash != nil {
		return v.BodyHash.holds(in)
	}
	return nil
}

func (b *BodyHash) holds(in *inspection) error {
	text, err := in.only(b.From)
	if err != nil {
		return err
	}
	want, err := decode(b.Encoding, text)
	if err != nil {
		return refused(ReasonMalformed)
	}
	h := newHash(b.Hash)()
	h.Write(in.d.Body)
	if !hmac.Equal(want, h.Sum(nil)) {
		return refused(ReasonMismatch)
	}
	return nil
}

// binding is what a valid signature vouches for.
func (v *Verifier) binding() events.Verified {
	switch {
	case v.Scheme == "none":
		return events.VerifiedNone
	case !v.bindsBody():
		return events.VerifiedOrigin
	case v.bindsTime():
		return events.VerifiedBodyTime
	default:
		return events.VerifiedBody
	}
}

// bindsBody tells whether the signature is of no other body.
func (v *Verifier) bindsBody() bool {
	switch v.Scheme {
	case "hmac", "ed25519", "ecdsa", "rsa":
		return v.BodyHash != nil || v.Message.coversBody() && (v.OrMessage == nil || v.OrMessage.coversBody())
	case "jwt":
		return v.BodyHash != nil
	case "callback":
		return v.Call.Body.hasBody()
	default:
		return false
	}
}

func (v *Verifier) bindsTime() bool {
	t := v.Timestamp
	switch {
	case t == nil:
		return false
	case v.Scheme == "jwt":
		return t.From.kind == sourceClaim
	case v.Scheme == "callback":
		return v.Call.Body.hasSource(t.From) || t.From.kind != sourceHeader && t.From.kind != sourceQuery
	}
	covers := func(m Message) bool { return m.has(partTime) || m.covers(t.From) }
	return covers(v.Message) && (v.OrMessage == nil || covers(v.OrMessage))
}

// covers tells whether a source's text is vouched for by the signature.
func (v *Verifier) covers(s Source) bool {
	switch {
	case !v.bindsBody(): // nothing of it is; whoever knows the secret may say anything
		return true
	case s.kind == sourceClaim, s.kind == sourceText:
		return true
	case s.kind != sourceHeader && s.kind != sourceQuery:
		return true
	case v.Scheme == "callback":
		return v.Call.Body.hasSource(s)
	default:
		return v.Message.covers(s) && (v.OrMessage == nil || v.OrMessage.covers(s))
	}
}
