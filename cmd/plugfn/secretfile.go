package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/plugfn/plugfn/pkg/providers"
)

// secretSize is how many random bytes a generated secret has.
const secretSize = 32

// keepSecret returns the secret in the file at path. When there is no file it
// makes one with a random secret for its owner only, and reports true. The
// secret is hexadecimal, which is right for every way in which packs read
// their keys.
func keepSecret(path string) (secret providers.Secret, created bool, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			return secret, false, fmt.Errorf("%s is empty: remove it, then a new secret is made", path)
		}
		return providers.NewSecret(text), false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	random := make([]byte, secretSize)
	_, _ = rand.Read(random) // never fails
	text = []byte(hex.EncodeToString(random))
	if err := writePrivate(path, append(text, '\n')); err != nil {
		return secret, false, err
	}
	return providers.NewSecret(text), true, nil
}

// writePrivate writes a file for its owner only, as a whole or not at all, and
// makes its directory.
func writePrivate(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = draft.Write(data)
	if err = errors.Join(err, draft.Sync(), draft.Close()); err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft.Name()))
	}
	return nil
}
