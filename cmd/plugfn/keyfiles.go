package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/plugfn/plugfn/pkg/providers"
)

// keyFiles are the keys that an issuer publishes, from files: for any address
// that the pack allows.
type keyFiles struct {
	certificate *x509.Certificate
	keys        map[string]crypto.PublicKey // :: id → key; nil: no file
}

// readKeyFiles reads a certificate and a key set; a name that is empty stands for
// none.
func readKeyFiles(certFile, jwksFile string) (*keyFiles, error) {
	var k keyFiles
	if certFile != "" {
		text, err := os.ReadFile(certFile)
		if err == nil {
			k.certificate, err = providers.ParseCertificate(text)
		}
		if err != nil {
			return nil, usage("", "--cert-file %s: %v", certFile, err)
		}
	}
	if jwksFile != "" {
		text, err := os.ReadFile(jwksFile)
		if err == nil {
			k.keys, err = providers.ParseKeySet(text)
		}
		if err != nil {
			return nil, usage("", "--jwks-file %s: %v", jwksFile, err)
		}
	}
	return &k, nil
}

// Certificate returns the one that there is.
func (k *keyFiles) Certificate(_ context.Context, url string) (*x509.Certificate, error) {
	if k.certificate == nil {
		return nil, fmt.Errorf("no file has the certificate at %s", url)
	}
	return k.certificate, nil
}

// Key returns a key of the set.
func (k *keyFiles) Key(_ context.Context, url, id string) (crypto.PublicKey, error) {
	switch key, ok := k.keys[id]; {
	case k.keys == nil:
		return nil, fmt.Errorf("no file has the keys at %s", url)
	case !ok:
		return nil, providers.ErrNoKey
	default:
		return key, nil
	}
}
