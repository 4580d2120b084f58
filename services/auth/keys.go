package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// canaryKey holds a known text, encrypted, in the bucket of keys. Whoever can
// decrypt it has the key that the connections were written with.
const canaryKey, canaryText = "canary", "plugfn"

// maxTrial is how many records are tried, where the canary is missing, before
// a key is held to be the wrong one.
const maxTrial = 100

// KeysConfig says where the encryption key is and what it was used for.
type KeysConfig struct {
	Path        string             // of the keyset file, which holds a Tink keyset in JSON
	Bucket      jetstream.KeyValue // holds the canary
	Connections jetstream.KeyValue // events.BucketConnections
}

// Keys encrypts and decrypts credentials. Its zero value cannot be used. It is
// safe for concurrent use.
type Keys struct {
	primitive tink.AEAD
}

// OpenKeys reads the keyset file and makes sure that it holds the key of the
// data. On the very first start, with no file, no canary and no connection, it
// generates a key, writes it to the file with mode 0600, and reports true:
// tell the operator to keep a copy.
//
// In every other case it changes nothing. A missing file, a wrong key or a file
// that others may read is an error that names the path and the fix.
func OpenKeys(ctx context.Context, cfg KeysConfig) (keys *Keys, created bool, err error) {
	if cfg.Path == "" || cfg.Bucket == nil || cfg.Connections == nil {
		return nil, false, errors.New("opening the encryption key: Path, Bucket and Connections are needed")
	}
	handle, err := readKeyset(cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return generateKeys(ctx, cfg)
	}
	if err != nil {
		return nil, false, err
	}
	keys, err = newKeys(handle, cfg.Path)
	if err != nil {
		return nil, false, err
	}
	ours, err := keys.claim(ctx, cfg)
	switch {
	case err != nil:
		return nil, false, err
	case !ours:
		return nil, false, fmt.Errorf("encryption key in %s is not the one that this data was written with; nothing was changed; put the old file back", cfg.Path)
	}
	return keys, false, nil
}

func newKeys(handle *keyset.Handle, path string) (*Keys, error) {
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, errDamagedKey(path)
	}
	return &Keys{primitive: primitive}, nil
}

// generateKeys makes the first key, unless there is data of an earlier one.
func generateKeys(ctx context.Context, cfg KeysConfig) (*Keys, bool, error) {
	fresh, err := isFresh(ctx, cfg)
	switch {
	case err != nil:
		return nil, false, err
	case !fresh && isThere(cfg.Path): // another process has been through all this since we looked
		return OpenKeys(ctx, cfg)
	case !fresh:
		return nil, false, fmt.Errorf("encryption key %s is missing, and there is data that was written with it; nothing was destroyed; restore this file from your backup", cfg.Path)
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, false, fmt.Errorf("generating the encryption key: %w", err)
	}
	err = writeKeyset(cfg.Path, handle)
	if errors.Is(err, fs.ErrExist) && isThere(cfg.Path) { // written by another process since we looked
		return OpenKeys(ctx, cfg)
	}
	if err != nil {
		return nil, false, err
	}
	return firstKeys(ctx, cfg, handle)
}

// firstKeys claims the data for a key that was generated and written just now.
// The canary decides between two processes that do so at the same time.
func firstKeys(ctx context.Context, cfg KeysConfig, handle *keyset.Handle) (*Keys, bool, error) {
	keys, err := newKeys(handle, cfg.Path)
	if err != nil {
		return nil, false, err
	}
	ours, err := keys.claim(ctx, cfg)
	switch {
	case err != nil:
		return nil, false, err
	case !ours:
		lost := fmt.Errorf("another process has just generated the encryption key; nothing was changed; copy its keyset file to %s", cfg.Path)
		return nil, false, errors.Join(lost, os.Remove(cfg.Path))
	}
	return keys, true, nil
}

// isThere reports whether path can be opened, and is not a link to nothing.
func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isFresh reports whether nothing was ever encrypted.
func isFresh(ctx context.Context, cfg KeysConfig) (bool, error) {
	_, err := cfg.Bucket.Get(ctx, canaryKey)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, fmt.Errorf("looking for data of an earlier encryption key: %w", err)
	}
	fresh := true
	err = scan(ctx, cfg.Connections, allKeys, func(jetstream.KeyValueEntry) bool {
		fresh = false
		return false
	}, jetstream.MetaOnly())
	if err != nil {
		return false, fmt.Errorf("looking for data of an earlier encryption key: %w", err)
	}
	return fresh, nil
}

// claim reports whether k is the key of the data. Where there is no canary yet,
// it puts one in place.
func (k *Keys) claim(ctx context.Context, cfg KeysConfig) (bool, error) {
	ours, err := k.match(ctx, cfg.Bucket)
	if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return ours, err
	}
	if ours, err = k.opens(ctx, cfg.Connections); err != nil || !ours {
		return false, err
	}
	sealed, err := k.primitive.Encrypt([]byte(canaryText), associatedData(canaryKey))
	if err != nil {
		return false, fmt.Errorf("encrypting the canary: %w", err)
	}
	_, err = cfg.Bucket.Create(ctx, canaryKey, sealed)
	if errors.Is(err, jetstream.ErrKeyExists) { // by another process since we looked
		return k.match(ctx, cfg.Bucket)
	}
	if err != nil {
		return false, fmt.Errorf("writing the canary: %w", err)
	}
	return true, nil
}

// match reports whether k decrypts the canary.
func (k *Keys) match(ctx context.Context, bucket jetstream.KeyValue) (bool, error) {
	entry, err := bucket.Get(ctx, canaryKey)
	if err != nil {
		return false, fmt.Errorf("reading the canary: %w", err)
	}
	text, err := k.primitive.Decrypt(entry.Value(), associatedData(canaryKey))
	return err == nil && string(text) == canaryText, nil
}

// opens reports whether k decrypts a credential, or there is none.
func (k *Keys) opens(ctx context.Context, connections jetstream.KeyValue) (bool, error) {
	tried, opened := 0, false
	err := scan(ctx, connections, allKeys, func(entry jetstream.KeyValueEntry) bool {
		tried++
		r, err := decodeRecord(entry.Key(), entry.Value())
		if err == nil {
			_, err = k.openCredential(r.Connection, r.Credential)
		}
		opened = err == nil
		return !opened && tried < maxTrial
	})
	if err != nil {
		return false, fmt.Errorf("checking the encryption key: %w", err)
	}
	return opened || tried == 0, nil
}
