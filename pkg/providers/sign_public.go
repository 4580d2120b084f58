package providers

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	exampleKeyID   = "plugfn-example"
	exampleRSABits = 2048
)

// private is the private key of a scheme or of an algorithm of JWT, made of the
// seed when it is first needed.
func (s *provider) private(kind string) (crypto.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.made[kind]; ok {
		return key, nil
	}
	var key crypto.Signer
	var err error
	switch kind {
	case "ed25519":
		key = ed25519.NewKeyFromSeed(s.derive("ed25519"))
	case "ecdsa":
		key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), s.derive("ecdsa"))
	default:
		key, err = s.exampleRSA()
	}
	if err != nil {
		return nil, fmt.Errorf("making an example key: %w", err)
	}
	s.made[kind] = key
	return key, nil
}

// keyKind is the kind of key that a verifier wants.
func (v *Verifier) keyKind() string {
	switch {
	case v.Scheme != "jwt":
		return v.Scheme
	case v.Algorithms[0] == "EdDSA":
		return "ed25519"
	case strings.HasPrefix(v.Algorithms[0], "ES"):
		return "ecdsa"
	default:
		return "rsa"
	}
}

// exampleRSA makes an RSA key that depends on nothing but the seed, which
// package rsa does not. It protects nothing: it signs examples.
func (s *provider) exampleRSA() (*rsa.PrivateKey, error) {
	e := big.NewInt(65537)
	for n := uint64(0); ; n += 2 {
		p, q := s.prime(n), s.prime(n+1)
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())}, D: d, Primes: []*big.Int{p, q}}
		key.Precompute()
		return key, key.Validate()
	}
}

// prime is the first prime number behind one that the seed gives.
func (s *provider) prime(n uint64) *big.Int {
	var raw []byte
	for i := uint64(0); len(raw) < exampleRSABits/16; i++ {
		raw = append(raw, s.derive("rsa "+string(binary.BigEndian.AppendUint64(nil, n<<32|i)))...)
	}
	raw[0] |= 0xc0 // so that the product has all its bits
	raw[len(raw)-1] |= 1
	p := new(big.Int).SetBytes(raw)
	for two := big.NewInt(2); !p.ProbablyPrime(20); {
		p.Add(p, two)
	}
	return p
}

// publicText is the public key of the verifier as an endpoint's secret has it.
func (s *Signer) publicText(v *Verifier) string {
	key, err := s.private(v.keyKind())
	if err != nil {
		return ""
	}
	if raw, ok := key.Public().(ed25519.PublicKey); ok {
		switch v.Key {
		case "hex":
			return hex.EncodeToString(raw)
		case "base64":
			return base64.StdEncoding.EncodeToString(raw)
		case "whpk":
			return "whpk_" + base64.StdEncoding.EncodeToString(raw)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// signer returns the private key that belongs to what the endpoint knows.
func (s *Signer) privateOf(v *Verifier) (crypto.Signer, error) {
	key, err := s.private(v.keyKind())
	if err != nil || !v.UsesKey() {
		return key, err
	}
	for _, secret := range s.secrets {
		written, ok := s.webhooks.kindOf(secret, v.Secret)
		if !ok {
			continue
		}
		known, err := v.publicKey(written)
		if err != nil {
			continue
		}
		if own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && own.Equal(known) {
			return key, nil
		}
	}
	return nil, errors.New("the secret is a public key, and only the provider has the private one")
}

// signPublic signs what v.signed returns.
func (s *Signer) signPublic(v *Verifier, signed []byte) ([]byte, error) {
	key, err := s.privateOf(v)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(k, signed), nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, k, hashID(v.Hash), signed)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("no key of this scheme")
	}
	if v.Signature.Form != "raw" {
		return ecdsa.SignASN1(rand.Reader, ec, signed)
	}
	r, t, err := ecdsa.Sign(rand.Reader, ec, signed)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, ed25519.SignatureSize)
	r.FillBytes(raw[:len(raw)/2])
	t.FillBytes(raw[len(raw)/2:])
	return raw, nil
}

// certificateURL is where the example certificate is, on a host that the pack
// allows.
func (s *Signer) certificateURL(v *Verifier) string {
	host := strings.ReplaceAll(v.Certificate.Hosts[0].String(), "*", "example")
	return "https://" + host + "/" + s.certificateName()
}

func (s *provider) certificateName() string {
	return exampleKeyID + "-" + hex.EncodeToString(s.derive("certificate")[:8]) + ".pem"
}

// Certificate returns the certificate that s signs with.
func (s *provider) Certificate(_ context.Context, url string) (*x509.Certificate, error) {
	if !strings.HasSuffix(url, "/"+s.certificateName()) {
		return nil, ErrNoKey
	}
	key, err := s.private("rsa")
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example"},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making an example certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Key returns the key that s signs tokens with.
func (s *provider) Key(_ context.Context, url, id string) (crypto.PublicKey, error) {
	for _, v := range s.webhooks.Verifiers {
		for _, v := range append([]*Verifier{v}, v.Also...) {
			if v.Scheme == "jwt" && v.JWKS == url && id == exampleKeyID {
				key, err := s.private(v.keyKind())
				if err != nil {
					return nil, err
				}
				return key.Public(), nil
			}
		}
	}
	return nil, ErrNoKey
}

// token makes the JWT that v wants.
func (s *Signer) token(v *Verifier, in *inspection) (string, error) {
	claims := map[string]any{"iat": in.d.ReceivedAt.Unix(), "exp": in.d.ReceivedAt.Add(5 * time.Minute).Unix()}
	if len(v.Issuer) > 0 {
		claims["iss"] = v.Issuer[0].resolve(in)
	}
	if len(v.Audience) > 0 {
		claims["aud"] = s.firstKnown(in, v.Audience)
	}
	for _, c := range v.Expect {
		if c.from.kind == sourceClaim && len(c.want) > 0 {
			putClaim(claims, c.from.pointer, c.want[0].resolve(in))
		}
	}
	if b := v.BodyHash; b != nil {
		putClaim(claims, b.From.pointer, b.of(in.d.Body))
	}
	if t := v.Timestamp; t != nil && t.From.kind == sourceClaim {
		putClaim(claims, t.From.pointer, json.RawMessage(writeTime(in.d.ReceivedAt, t.Format)))
	}
	return s.signToken(v, claims)
}

func (s *Signer) signToken(v *Verifier, claims map[string]any) (string, error) {
	var key any
	var err error
	if v.symmetric() {
		key, err = s.key(v)
	} else {
		key, err = s.privateOf(v)
	}
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(v.Algorithms[0]), Key: key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", exampleKeyID))
	if err != nil {
		return "", err
	}
	payload, err := encodeJSON(claims)
	if err != nil {
		return "", err
	}
	token, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return token.CompactSerialize()
}

// firstKnown is the first expected text that is known.
func (s *Signer) firstKnown(in *inspection, all []Expected) string {
	i := slices.IndexFunc(all, func(e Expected) bool { return e.resolve(in) != "" })
	if i < 0 {
		return ""
	}
	return all[i].resolve(in)
}

// resolve is the expected text.
func (e Expected) resolve(in *inspection) string {
	switch {
	case e.url:
		return in.c.URL
	case e.secret == "":
		return e.text
	}
	for i := range in.c.Secrets {
		if written, ok := in.secret(i, e.secret); ok {
			return string(written)
		}
	}
	return ""
}

// putClaim sets a claim: true and false are none of JWT's texts.
func putClaim(claims map[string]any, pointer []string, value any) {
	for _, name := range pointer[:max(0, len(pointer)-1)] {
		next, ok := claims[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			claims[name] = next
		}
		claims = next
	}
	switch value {
	case "true", "false":
		value = value == "true"
	}
	if len(pointer) > 0 {
		claims[pointer[len(pointer)-1]] = value
	}
}

// remember takes a delivery as genuine, for when s is asked.
func (s *Signer) remember(v *Verifier, in *inspection) error {
	call, err := v.call(in)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.genuine[sha256.Sum256(call.Body)] = true
	return nil
}

// Call answers as the provider would: with the pack's example for what s signed,
// with 200 and {} for anything else.
func (s *provider) Call(_ context.Context, c Call) (CallAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.webhooks.Verifiers {
		if v.Scheme == "callback" && v.Call.Path == c.Path && s.genuine[sha256.Sum256(bytes.Clone(c.Body))] {
			return v.Call.Example, nil
		}
	}
	return CallAnswer{Status: http.StatusOK, Body: json.RawMessage("{}")}, nil
}
