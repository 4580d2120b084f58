package house

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"

	"github.com/plugfn/plugfn/pkg/providers"
)

// exampleKeys knows the keys that example deliveries of plugfn dev are signed
// with, and asks the real source for all others.
type exampleKeys struct {
	signers []*providers.Signer
	real    providers.KeySource
}

// Certificate returns the example certificate at a URL, else the real one.
func (k *exampleKeys) Certificate(ctx context.Context, url string) (*x509.Certificate, error) {
	for _, s := range k.signers {
		if c, err := s.Certificate(ctx, url); !errors.Is(err, providers.ErrNoKey) {
			return c, err
		}
	}
	return k.real.Certificate(ctx, url)
}

// Key returns the example key at a URL, else the real one.
func (k *exampleKeys) Key(ctx context.Context, url, id string) (crypto.PublicKey, error) {
	for _, s := range k.signers {
		if key, err := s.Key(ctx, url, id); !errors.Is(err, providers.ErrNoKey) {
			return key, err
		}
	}
	return k.real.Key(ctx, url, id)
}
