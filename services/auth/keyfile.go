package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

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
	text, err := io.ReadAll(io.LimitReader(file, maxKeyset+1))
	if err != nil {
		return nil, fmt.Errorf("reading the encryption key: %w", err)
	}
	defer clear(text)
	handle, err := parseKeyset(text)
	if err != nil {
		return nil, fmt.Errorf("encryption key in %s is damaged: %w; nothing was changed; restore the file from your backup", path, err)
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

// writeKeyset writes handle to path, for its owner only. After it the file is
// there as a whole, also after a loss of power; before, it is not there at all.
// A file that exists stays as it is, and the error is fs.ErrExist.
func writeKeyset(path string, handle *keyset.Handle) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the directory of the encryption key: %w", err)
	}
	draft, err := draftKeyset(path, handle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(draft)) }()
	// A link, unlike a rename, never replaces a file that is there.
	if err := os.Link(draft, path); err != nil {
		return fmt.Errorf("writing the encryption key: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// replaceKeyset puts handle in the place of the file at path. Whatever happens,
// the file is the old one or the new one as a whole.
func replaceKeyset(path string, handle *keyset.Handle) error {
	path, err := filepath.EvalSymlinks(path) // the file, not a link to it
	if err != nil {
		return fmt.Errorf("replacing the encryption key: %w", err)
	}
	draft, err := draftKeyset(path, handle)
	if err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return errors.Join(fmt.Errorf("replacing the encryption key: %w", err), os.Remove(draft))
	}
	return syncDir(filepath.Dir(path))
}

// draftKeyset writes handle to a file of its own next to path.
func draftKeyset(path string, handle *keyset.Handle) (draft string, err error) {
	text, err := encodeKeyset(handle)
	if err != nil {
		return "", err
	}
	defer clear(text)
	draft = path + ".new-" + rand.Text()
	if err := writeSynced(draft, text); err != nil {
		return "", fmt.Errorf("writing the encryption key: %w", err)
	}
	return draft, nil
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
