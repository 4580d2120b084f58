package providers

import (
	"crypto/hmac"
	"errors"
	"net/http"

	"github.com/plugfn/plugfn/pkg/events"
)

// Verdict is what the signature of a delivery proves.
type Verdict struct {
	Level events.Verified
	Key   int // index of the secret that made the signature
}

// Verify tells whether one of the secrets signed d, at a time near
// d.ReceivedAt where the sender signs one. The first verifier of the pack whose
// signature header is present decides. The error is always a *[VerifyError];
// whoever gets one must not act on the delivery in any way.
func (w *Webhooks) Verify(d *Delivery, secrets []Secret) (Verdict, error) {
	if len(secrets) == 0 {
		return Verdict{}, refused(ReasonNoSecret)
	}
	for _, v := range w.Verifiers {
		if len(d.Header.Values(v.Signature.From.name)) > 0 {
			return v.verify(d, secrets)
		}
	}
	return Verdict{}, refused(ReasonMissingHeader)
}

// CheckSecret tells whether a secret is written in a form that a verifier of
// the pack can use. The error does not show it.
func (w *Webhooks) CheckSecret(secret Secret) error {
	var problems []error
	for _, v := range w.Verifiers {
		_, err := decodeKey(v.Key, secret)
		if err == nil {
			return nil
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// verify does what is cheap first: shape, then time, then hashing the body.
func (v *Verifier) verify(d *Delivery, secrets []Secret) (Verdict, error) {
	header, err := onlyValue(d.Header, v.Signature.From.name)
	if err != nil {
		return Verdict{}, err
	}
	candidates, err := v.Signature.candidates(header, newHash(v.Hash)().Size())
	if err != nil {
		return Verdict{}, err
	}
	stamp, err := v.Timestamp.read(d)
	if err != nil {
		return Verdict{}, err
	}
	key, err := v.match(d.Body, stamp, candidates, secrets)
	if err != nil {
		return Verdict{}, err
	}
	return Verdict{Level: v.binding(), Key: key}, nil
}

// match finds the secret that made one of the candidates. It always tries all
// with all, so that its duration does not tell which was close.
func (v *Verifier) match(body []byte, stamp string, candidates [][]byte, secrets []Secret) (int, error) {
	found, usable := -1, false
	for i, secret := range secrets {
		key, err := decodeKey(v.Key, secret)
		if err != nil {
			continue
		}
		usable = true
		sum := v.sum(key, stamp, body)
		for _, c := range candidates {
			if hmac.Equal(sum, c) && found < 0 {
				found = i
			}
		}
	}
	switch {
	case !usable:
		return 0, refused(ReasonNoSecret)
	case found < 0:
		return 0, refused(ReasonMismatch)
	}
	return found, nil
}

// sum is the signature that key makes.
func (v *Verifier) sum(key []byte, stamp string, body []byte) []byte {
	h := hmac.New(newHash(v.Hash), key)
	v.Message.write(h, stamp, body)
	return h.Sum(nil)
}

// binding is what a valid signature vouches for.
func (v *Verifier) binding() events.Verified {
	switch {
	case !v.Message.has(partBody):
		return events.VerifiedOrigin
	case v.Timestamp != nil && v.Message.has(partTime):
		return events.VerifiedBodyTime
	default:
		return events.VerifiedBody
	}
}

// onlyValue returns the value of a header that must be there once.
func onlyValue(h http.Header, name string) (string, error) {
	all := h.Values(name)
	switch {
	case len(all) > 1:
		return "", refused(ReasonDuplicateHeader)
	case len(all) == 0 || all[0] == "":
		return "", refused(ReasonMissingHeader)
	}
	return all[0], nil
}
