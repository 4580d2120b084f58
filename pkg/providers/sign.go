package providers

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// Signer signs deliveries as a provider would, for trying things out. It is the
// sender's side of [Webhooks.Verify], and plays the provider that publishes keys
// and answers calls: it is a [KeySource] and a [Caller] for what it signed. It is
// safe for concurrent use.
type Signer struct {
	*provider
	secrets []Secret
}

// provider is what signers of one provider have in common.
type provider struct {
	webhooks *Webhooks
	seed     []byte

	mu      sync.Mutex
	made    map[string]crypto.Signer   // :: scheme → private key
	genuine map[[sha256.Size]byte]bool // hashes of the calls about deliveries that were signed
}

// NewSigner returns a signer for an endpoint with the given secrets. Those that
// are missing, and the private keys of those that are public, are made of the
// seed, the same ones each time.
func (w *Webhooks) NewSigner(secrets []Secret, seed Secret) *Signer {
	p := &provider{webhooks: w, seed: seed.Reveal(), made: map[string]crypto.Signer{}, genuine: map[[sha256.Size]byte]bool{}}
	return (&Signer{provider: p}).For(secrets)
}

// For returns a signer of the same provider for another endpoint: one with the
// given secrets.
func (s *Signer) For(secrets []Secret) *Signer {
	w := s.webhooks
	s = &Signer{provider: s.provider, secrets: slices.Clone(secrets)}
	for i, kind := range w.Secrets {
		if w.hasKind(secrets, kind.Name) {
			continue
		}
		text := s.example(i)
		if i > 0 {
			text = kind.Name + ":" + text
		}
		s.secrets = append(s.secrets, NewSecret([]byte(text)))
	}
	return s
}

func (w *Webhooks) hasKind(secrets []Secret, kind string) bool {
	for _, secret := range secrets {
		if _, ok := w.kindOf(secret, kind); ok {
			return true
		}
	}
	return false
}

// Secrets returns what an endpoint has to know to take what s signs, as
// [Check].Secrets has it.
func (s *Signer) Secrets() []Secret { return slices.Clone(s.secrets) }

// example makes the i-th kind of secret of the seed.
func (s *Signer) example(i int) string {
	kind := s.webhooks.Secrets[i]
	for _, v := range s.webhooks.Verifiers {
		for _, v := range append([]*Verifier{v}, v.Also...) {
			if v.UsesKey() && v.Secret == kind.Name {
				return s.exampleKey(v, i)
			}
		}
	}
	if kind.Example != "" {
		return kind.Example
	}
	return s.text(i)
}

// text is a secret that is any text: the seed itself for the first kind.
func (s *Signer) text(i int) string {
	if i == 0 {
		return string(s.seed)
	}
	return hex.EncodeToString(s.derive("secret " + s.webhooks.Secrets[i].Name)[:16])
}

// derive makes 32 bytes of the seed.
func (s *provider) derive(label string) []byte {
	h := hmac.New(sha256.New, s.seed)
	h.Write([]byte(label))
	return h.Sum(nil)
}

func (s *Signer) exampleKey(v *Verifier, i int) string {
	raw := s.derive("key")
	switch {
	case v.Scheme == "basic":
		return "plugfn:" + s.text(i)
	case v.Scheme == "token", v.Key == "utf8":
		return s.text(i)
	case v.Key == "hex" && v.Scheme != "ed25519":
		return hex.EncodeToString(raw)
	case v.Key == "base64" && v.Scheme != "ed25519":
		return base64.StdEncoding.EncodeToString(raw)
	case v.Key == "base64url":
		return base64.RawURLEncoding.EncodeToString(raw)
	case v.Key == "whsec":
		return "whsec_" + base64.StdEncoding.EncodeToString(raw)
	default:
		return s.publicText(v)
	}
}

// Sign puts the signature on d, and the timestamp d.ReceivedAt where the
// provider sends one. url is the endpoint's address as the provider knows it. Of
// several verifiers it is the one whose place for the signature d has already,
// else the first that applies.
func (s *Signer) Sign(d *Delivery, url string) error {
	if d.Header == nil {
		d.Header = http.Header{}
	}
	in := &inspection{w: s.webhooks, d: d, c: Check{Secrets: s.secrets, URL: url, Keys: s, Caller: s}}
	v := s.verifierFor(in)
	if v == nil {
		return errors.New("signing a delivery: no verifier of the pack applies to it")
	}
	for _, v := range append([]*Verifier{v}, v.Also...) {
		if err := s.sign(v, in); err != nil {
			return fmt.Errorf("signing a delivery: %w", err)
		}
	}
	return nil
}

func (s *Signer) verifierFor(in *inspection) *Verifier {
	var first *Verifier
	for _, v := range s.webhooks.Verifiers {
		if len(v.When) > 0 && !in.meets(v.When) {
			continue
		}
		if v.Signature.From.present(in) {
			return v
		}
		if first == nil {
			first = v
		}
	}
	return first
}

// sign does what v checks.
func (s *Signer) sign(v *Verifier, in *inspection) error {
	in.verifier, in.stamp = v, ""
	if t := v.Timestamp; t != nil && t.From.kind != sourceClaim {
		in.stamp = writeTime(in.d.ReceivedAt, t.Format)
		if !v.sharesPlace() {
			if err := in.put(t.From, keyValue(t.Pick, in.stamp)); err != nil {
				return err
			}
		}
	}
	if b := v.BodyHash; b != nil && b.From.kind != sourceClaim {
		if err := in.put(b.From, b.of(in.d.Body)); err != nil {
			return err
		}
	}
	if v.Certificate != nil {
		if err := in.put(v.Certificate.From, s.certificateURL(v)); err != nil {
			return err
		}
	}
	switch v.Scheme {
	case "network":
		in.d.Peer = v.Networks[0].prefix.Addr().Next()
		return nil
	case "none":
		return nil
	}
	proof, err := s.proof(v, in)
	if err != nil {
		return err
	}
	if v.sharesPlace() {
		proof = keyValue(v.Timestamp.Pick, in.stamp) + v.Signature.Split + proof
	}
	if len(v.Signature.From) > 0 {
		if err := in.put(v.Signature.From[0], proof); err != nil {
			return err
		}
	}
	if v.Scheme == "callback" {
		return s.remember(v, in)
	}
	return nil
}

// sharesPlace tells whether timestamp and signature are in one text.
func (v *Verifier) sharesPlace() bool {
	return v.Timestamp != nil && len(v.Signature.From) > 0 && v.Timestamp.From.String() == v.Signature.From[0].String()
}

// of is the hash of a body as it is written.
func (b *BodyHash) of(body []byte) string {
	h := newHash(b.Hash)()
	h.Write(body)
	return encode(b.Encoding, h.Sum(nil))
}

// put sets the text of a source.
func (in *inspection) put(to Source, text string) error {
	var done bool
	var err error
	switch to.kind {
	case sourceHeader, sourceQuery:
		done, err = (&Reading{delivery: in.d}).replace(to, text)
	default:
		var r *Reading
		if r, err = in.w.Read(in.d); err != nil {
			return err
		}
		done, err = r.replace(to, text)
	}
	in.reading, in.unread = nil, false
	if err == nil && !done {
		err = fmt.Errorf("%s is not in the example: it needs something in its place", to)
	}
	return err
}

// proof is the text of v's signature, with key and prefix.
func (s *Signer) proof(v *Verifier, in *inspection) (string, error) {
	text, err := s.rawProof(v, in)
	return keyValue(v.Signature.Pick, v.Signature.Prefix+text), err
}

func (s *Signer) rawProof(v *Verifier, in *inspection) (string, error) {
	switch v.Scheme {
	case "hmac":
		key, err := s.key(v)
		if err != nil {
			return "", err
		}
		sum, err := v.sum(in, key, v.Message)
		return encode(v.Signature.Encoding, sum), err
	case "token":
		key, err := s.key(v)
		return string(key), err
	case "basic":
		key, err := s.key(v)
		return base64.StdEncoding.EncodeToString(key), err
	case "jwt":
		return s.token(v, in)
	case "callback":
		return hex.EncodeToString(s.derive("proof " + string(in.d.Body))), nil
	default:
		signed, err := v.signed(in, v.Message)
		if err != nil {
			return "", err
		}
		raw, err := s.signPublic(v, signed)
		return encode(v.Signature.Encoding, raw), err
	}
}

// key is the first secret that v can use.
func (s *Signer) key(v *Verifier) ([]byte, error) {
	var problem error
	for _, secret := range s.secrets {
		written, ok := s.webhooks.kindOf(secret, v.Secret)
		if !ok {
			continue
		}
		key, err := decodeKey(v.Key, written)
		if err == nil {
			return key, nil
		}
		problem = err
	}
	if problem == nil {
		problem = errors.New("there is no secret to sign with")
	}
	return nil, problem
}
