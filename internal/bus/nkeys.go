package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"
)

// RoleKeys returns the public key of each role. It reads the seeds from the
// files <role>.nk in dir and makes those that are missing, and the directory,
// for nobody but their owner to read.
func RoleKeys(dir string) (map[Role]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of nkeys: %w", err)
	}
	keys := map[Role]string{}
	for _, role := range Roles() {
		public, err := keepKey(seedFile(dir, role))
		if err != nil {
			return nil, err
		}
		keys[role] = public
	}
	return keys, nil
}

func seedFile(dir string, role Role) string { return filepath.Join(dir, string(role)+".nk") }

// keepKey returns the public key of the seed in a file, which it makes if there
// is none.
func keepKey(path string) (public string, err error) {
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return "", fmt.Errorf("reading nkey: %w", err)
	}
	defer clear(seed)
	pair, err := nkeys.ParseDecoratedNKey(seed)
	if err == nil {
		public, err = pair.PublicKey()
	}
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return "", fmt.Errorf("reading nkey %s: there is no seed of a user in it: put it back, or remove the file to have a new one made", path)
	}
	return public, nil
}

func makeKey(path string) (string, error) {
	public, seed, err := newKey()
	if err != nil {
		return "", err
	}
	defer clear(seed)
	if err := writeKey(path, seed); err != nil {
		return "", fmt.Errorf("making nkey %s: %w", path, err)
	}
	return public, nil
}

// newKey returns a new key of a NATS user.
func newKey() (public string, seed []byte, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", nil, fmt.Errorf("making an nkey: %w", err)
	}
	if public, err = pair.PublicKey(); err != nil {
		return "", nil, fmt.Errorf("making an nkey: %w", err)
	}
	if seed, err = pair.Seed(); err != nil {
		return "", nil, fmt.Errorf("making an nkey: %w", err)
	}
	return public, seed, nil
}

// writeKey writes a file at once or not at all, so that no crash leaves half a
// key behind.
func writeKey(path string, seed []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".nk-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already once it has its name
	line := append(append([]byte(nil), seed...), '\n')
	defer clear(line)
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
