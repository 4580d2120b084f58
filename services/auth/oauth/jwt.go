package oauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// signed is an assertion.
type signed struct {
	token   providers.Secret
	expires time.Time
}

// assertion signs what j says and puts it among the fields. A failure says what
// is wrong with a key or a field, and shows none of it.
func assertion(j *providers.JWT, f *fields, now time.Time) (signed, *Failure) {
	f.nonce = rand.Text()
	header, failure := expand(j.Header, f, map[string]any{"alg": j.Algorithm, "typ": "JWT"})
	if failure != nil {
		return signed{}, failure
	}
	issued := now.Add(-j.Backdate)
	expires := issued.Add(j.Lifetime)
	claims, failure := expand(j.Claims, f, map[string]any{"iat": issued.Unix(), "exp": expires.Unix()})
	if failure != nil {
		return signed{}, failure
	}
	key, ok := j.Key.Expand(f.value)
	if !ok {
		return signed{}, unsent("", blame(j.Key.String()), "there is no key to sign with: "+j.Key.String()+" is not set")
	}
	text := encode(header) + "." + encode(claims)
	signature, err := sign(j, []byte(key), []byte(text))
	if err != nil {
		return signed{}, unsent("", blame(j.Key.String()), err.Error())
	}
	f.assertion = providers.NewSecret([]byte(text + "." + base64.RawURLEncoding.EncodeToString(signature)))
	return signed{token: f.assertion, expires: time.Unix(expires.Unix(), 0).UTC()}, nil
}

// expand fills the templates into an object. An absent field leaves its member
// out, but for those that are needed to say who signs.
func expand(templates map[string]providers.Template, f *fields, object map[string]any) (map[string]any, *Failure) {
	for name, template := range templates {
		text, ok := template.Expand(f.value)
		if ok {
			object[name] = text
		} else if name == "iss" || name == "sub" || name == "kid" {
			return nil, unsent("", blame(template.String()), name+" of the assertion has no value: "+template.String()+" is not set")
		}
	}
	return object, nil
}

func encode(object map[string]any) string {
	raw, _ := json.Marshal(object) // of texts and numbers: cannot fail
	return base64.RawURLEncoding.EncodeToString(raw)
}

// sign makes the signature of RFC 7518.
func sign(j *providers.JWT, key, text []byte) ([]byte, error) {
	if j.Algorithm == "HS256" {
		secret, err := symmetric(j.KeyEncoding, key)
		if err != nil {
			return nil, err
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(text)
		return mac.Sum(nil), nil
	}
	private, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(text)
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if j.Algorithm != "RS256" {
			return nil, errors.New("the key is an RSA key, " + j.Algorithm + " needs one of the curve P-256")
		}
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		if j.Algorithm != "ES256" || private.Curve != elliptic.P256() {
			return nil, errors.New("the key is an elliptic curve key that does not go with " + j.Algorithm)
		}
		return signECDSA(private, digest[:])
	default:
		return nil, errors.New("the key is of a kind that does not go with " + j.Algorithm)
	}
}

// signECDSA writes both numbers with 32 bytes each.
func signECDSA(key *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, errors.New("the key cannot sign")
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

func symmetric(encoding string, key []byte) ([]byte, error) {
	switch encoding {
	case "hex":
		secret, err := hex.DecodeString(string(key))
		if err != nil {
			return nil, errors.New("the key is not hex")
		}
		return secret, nil
	case "base64":
		secret, err := base64.StdEncoding.DecodeString(string(key))
		if err != nil {
			return nil, errors.New("the key is not base64")
		}
		return secret, nil
	default:
		return key, nil
	}
}

// parseKey reads a private key in PEM: PKCS #1, PKCS #8 or SEC 1. Line breaks
// may be written \n, as they are in environment variables and JSON.
func parseKey(text []byte) (crypto.PrivateKey, error) {
	block, _ := pem.Decode(bytes.ReplaceAll(text, []byte(`\n`), []byte("\n")))
	if block == nil {
		return nil, errors.New("the key is not PEM, which begins with -----BEGIN")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the key is not a private key in PKCS #1, PKCS #8 or SEC 1")
	}
	return key, nil
}
