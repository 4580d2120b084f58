package auth

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// maxKeyFile is the largest keyset file that is read, in bytes. A keyset of
// one key has about 300.
const maxKeyFile = 64 << 10

// readKeyset reads a Tink keyset in JSON. Where the file does not exist, the
// error is fs.ErrNotExist.
func readKeyset(path string) (*keyset.Handle, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the encryption key: %w", err)
	}
	defer file.Close()
	if err := checkKeyFile(path, file); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the encryption key: %w", err)
	}
	defer clear(text)
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil || len(text) > maxKeyFile {
		return nil, errDamagedKey(path)
	}
	return handle, nil
}

// checkKeyFile refuses a file that others than its owner may open.
func checkKeyFile(path string, file *os.File) error {
	entry, err := file.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("reading the encryption key: %w", err)
	case !entry.Mode().IsRegular():
		return fmt.Errorf("encryption key in %s: not a regular file", path)
	case runtime.GOOS != "windows" && entry.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("encryption key in %s: its mode %04o lets others than its owner open it: chmod 600 %s", path, entry.Mode().Perm(), path)
	}
	return nil
}

func errDamagedKey(path string) error {
	return fmt.Errorf("encryption key in %s is damaged: it is no Tink keyset for AEAD in JSON; nothing was changed; restore the file from your backup", path)
}

// writeKeyset writes handle to path, for its owner only. After it the file is
// there as a whole, also after a loss of power; before, it is not there at all.
// A file that exists stays as it is, and the error is fs.ErrExist.
func writeKeyset(path string, handle *keyset.Handle) (err error) {
	var text bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&text)); err != nil {
		return fmt.Errorf("encoding the encryption key: %w", err)
	}
	defer clear(text.Bytes())
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the directory of the encryption key: %w", err)
	}
	draft := path + ".new-" + rand.Text()
	if err := writeSynced(draft, text.Bytes()); err != nil {
		return fmt.Errorf("writing the encryption key: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(draft)) }()
	// A link, unlike a rename, never replaces a file that is there.
	if err := os.Link(draft, path); err != nil {
		return fmt.Errorf("writing the encryption key: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // does it by itself, and cannot sync a directory
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("making the encryption key durable: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("making the encryption key durable: %w", err)
	}
	return nil
}
