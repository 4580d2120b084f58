package secretfile

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

// size is how many random bytes a generated secret has.
const size = 32

var errEmpty = errors.New("is empty")

// Keep returns the secret in the file at path. When there is no file it
// makes one with a random secret, for its owner only, and reports true. The
// secret is hexadecimal, which is right for every way in which packs read
// their keys.
func Keep(path string) (secret providers.Secret, created bool, err error) {
	random := make([]byte, size)
	_, _ = rand.Read(random) // never fails
	return KeepText(path, []byte(hex.EncodeToString(random)))
}

// KeepText is Keep with the text that a new file is to have.
func KeepText(path string, text []byte) (secret providers.Secret, created bool, err error) {
	secret, err = Read(path)
	if errors.Is(err, errEmpty) {
		return secret, false, fmt.Errorf("%w: remove it, then it is made anew", err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	draft, err := writeDraft(path, append(bytes.Clone(text), '\n'))
	if err != nil {
		return providers.Secret{}, false, err
	}
	defer os.Remove(draft)
	// A link, unlike a rename, never replaces what another process was faster
	// to make.
	err = os.Link(draft, path)
	if errors.Is(err, fs.ErrExist) {
		secret, err = Read(path)
		return secret, false, err
	}
	return providers.NewSecret(text), true, err
}

// Read reads the one line of a file.
func Read(path string) (providers.Secret, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return providers.Secret{}, err
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return providers.Secret{}, fmt.Errorf("%s %w", path, errEmpty)
	}
	return providers.NewSecret(text), nil
}

// WritePrivate writes a file for its owner only, as a whole or not at all, and
// makes its directory.
func WritePrivate(path string, data []byte) error {
	draft, err := writeDraft(path, data)
	if err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return nil
}

// writeDraft writes a file beside path, for its owner only.
func writeDraft(path string, data []byte) (name string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
