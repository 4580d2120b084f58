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
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/plugfn/plugfn/internal/bus"
)

// maxTrial is how many records are tried, where the record of the keyset is
// missing, before a key is held to be the wrong one.
const maxTrial = 100

// errLost is where two processes have generated a first keyset at the same
// time, and the other one was faster.
var errLost = errors.New("another process has just generated the encryption key; nothing was changed; copy its keyset file to this place")

// open takes the keyset of the data into use, or makes the first one.
func (k *Keys) open(ctx context.Context) (created bool, err error) {
	r, revision, err := k.read(ctx)
	switch {
	case err == nil:
		return false, k.enter(ctx, r, revision)
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return false, fmt.Errorf("opening the encryption keys: %w", err)
	}
	handle, err := k.keysetFile()
	switch {
	case err == nil:
		return false, k.adopt(ctx, handle)
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	return k.generate(ctx)
}

// enter takes the keyset of a record into use.
func (k *Keys) enter(ctx context.Context, r keyRecord, revision uint64) error {
	handle, err := k.keyset(ctx, r)
	if errors.Is(err, fs.ErrNotExist) {
		return k.errMissing()
	}
	if err != nil {
		return err
	}
	made, err := newRing(r, handle)
	if err != nil {
		return k.explain(r, err)
	}
	k.use(made)
	if k.cfg.Wrapper == nil || len(r.Wrapped) > 0 {
		return nil
	}
	return k.wrap(ctx, r, revision, handle)
}

// wrap takes a keyset from its file to the bus.
func (k *Keys) wrap(ctx context.Context, r keyRecord, revision uint64, handle *keyset.Handle) error {
	err := k.commit(ctx, r, revision, handle)
	switch {
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch): // another process does the same
		return k.reload(ctx)
	case err != nil:
		return err
	}
	k.cfg.Log.Warn().Str("path", k.cfg.Path).Msg("keyset taken to the bus, wrapped: its file is not read any more, remove it")
	return nil
}

// adopt takes the keyset of the file into use for data that has no record yet.
func (k *Keys) adopt(ctx context.Context, handle *keyset.Handle) error {
	r, err := firstRecord(handle)
	if err != nil {
		return fmt.Errorf("encryption key in %s: %w", k.cfg.Path, err)
	}
	made, err := newRing(r, handle)
	if err != nil {
		return k.explain(r, err)
	}
	if ours, err := k.opens(ctx, made); err != nil || !ours {
		return errors.Join(err, k.explain(r, wrongKeyset{r.primary()}))
	}
	err = k.put(ctx, r, handle)
	if errors.Is(err, jetstream.ErrKeyExists) { // written by another process since we looked
		_, err = k.open(ctx)
	}
	return err
}

// generate makes the first keyset, unless there is data of an earlier one.
func (k *Keys) generate(ctx context.Context) (bool, error) {
	fresh, err := k.isFresh(ctx)
	switch {
	case err != nil:
		return false, err
	case !fresh && isThere(k.cfg.Path): // another process has been through all this since we looked
		return k.open(ctx)
	case !fresh:
		return k.openLate(ctx)
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return false, fmt.Errorf("generating the encryption key: %w", err)
	}
	if k.cfg.Wrapper != nil {
		return k.generated(ctx, handle)
	}
	err = writeKeyset(k.cfg.Path, handle)
	switch {
	case errors.Is(err, fs.ErrExist) && isThere(k.cfg.Path): // written by another process since we looked
		return k.open(ctx)
	case err != nil:
		return false, err
	}
	return k.generated(ctx, handle)
}

// openLate opens the keyset that another process has made since we looked.
func (k *Keys) openLate(ctx context.Context) (bool, error) {
	r, revision, err := k.read(ctx)
	if err != nil {
		return false, k.errMissing()
	}
	return false, k.enter(ctx, r, revision)
}

// generated claims the data for a keyset that was generated just now. The
// record decides between two processes that do so at the same time.
func (k *Keys) generated(ctx context.Context, handle *keyset.Handle) (bool, error) {
	r, err := firstRecord(handle)
	if err != nil {
		return false, err
	}
	err = k.put(ctx, r, handle)
	if err == nil || !errors.Is(err, jetstream.ErrKeyExists) {
		return err == nil, err
	}
	_, err = k.open(ctx)
	var other wrongKeyset
	if k.cfg.Wrapper == nil && (errors.As(err, &other) || errors.Is(err, ErrWrapped)) {
		return false, errors.Join(errLost, os.Remove(k.cfg.Path)) // nothing was written with it
	}
	// Without a Wrapper it is our file that opened: somebody has found it and
	// was faster to write the record.
	return k.cfg.Wrapper == nil && err == nil, err
}

// firstRecord describes a keyset that has no record.
func firstRecord(handle *keyset.Handle) (keyRecord, error) {
	r := keyRecord{Generation: 1}
	primary, err := handle.Primary()
	if err != nil {
		return r, errNotAKeyset
	}
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		status := keyEnabled
		switch {
		case key.GetKeyId() == primary.KeyID():
			status = keyPrimary
		case key.GetStatus() == tinkpb.KeyStatusType_DISABLED:
			status = keyDisabled
		case key.GetStatus() != tinkpb.KeyStatusType_ENABLED:
			continue // destroyed
		}
		state, err := newKeyState(handle, key.GetKeyId(), status)
		if err != nil {
			return r, err
		}
		r.Keys = append(r.Keys, state)
	}
	return r, nil
}

// put writes the first record and takes its keys into use. Where there is one
// already the error is jetstream.ErrKeyExists.
func (k *Keys) put(ctx context.Context, r keyRecord, handle *keyset.Handle) error {
	now := k.cfg.Now().UTC()
	for i := range r.Keys {
		r.Keys[i].CreatedAt, r.Keys[i].ChangedAt = now, now
	}
	value, err := k.encode(ctx, &r, handle)
	if err != nil {
		return err
	}
	made, err := newRing(r, handle)
	if err != nil {
		return k.explain(r, err)
	}
	if _, err := k.bucket.Create(ctx, keysetKey, value); err != nil {
		return fmt.Errorf("writing the keyset record: %w", err)
	}
	k.use(made)
	return nil
}

// commit writes the next generation in the place of the one of that revision,
// and takes its keys into use. Where another process was faster the error is
// jetstream.ErrKeyRevisionMismatch.
func (k *Keys) commit(ctx context.Context, r keyRecord, revision uint64, handle *keyset.Handle) error {
	r.Generation++
	value, err := k.encode(ctx, &r, handle)
	if err != nil {
		return err
	}
	made, err := newRing(r, handle)
	if err != nil {
		return k.explain(r, err)
	}
	if _, err := k.bucket.Update(ctx, keysetKey, value, revision); err != nil {
		return fmt.Errorf("writing the keyset record: %w", err)
	}
	k.use(made)
	return nil
}

// encode makes the value of a record, with the keyset in it if there is a
// Wrapper.
func (k *Keys) encode(ctx context.Context, r *keyRecord, handle *keyset.Handle) ([]byte, error) {
	if k.cfg.Wrapper == nil {
		return r.encode()
	}
	text, err := encodeKeyset(handle)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if r.Wrapped, err = k.cfg.Wrapper.Wrap(ctx, text); err != nil {
		return nil, fmt.Errorf("wrapping the keyset: %w; nothing was changed", err)
	}
	return r.encode()
}

func (k *Keys) errMissing() error {
	if k.cfg.Wrapper != nil {
		return fmt.Errorf("the keyset is missing from bucket %s, and there is data that was written with it; nothing was destroyed; restore the bucket from your backup", bus.BucketKeys)
	}
	return fmt.Errorf("encryption key %s is missing, and there is data that was written with it; nothing was destroyed; restore this file from your backup", k.cfg.Path)
}

// isThere reports whether path can be opened, and is not a link to nothing.
func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isFresh reports whether nothing was ever encrypted.
func (k *Keys) isFresh(ctx context.Context) (bool, error) {
	_, err := k.bucket.Get(ctx, keysetKey)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, fmt.Errorf("looking for data of an earlier encryption key: %w", err)
	}
	fresh := true
	for _, b := range k.sealed {
		err := scan(ctx, b.kv, allKeys, func(jetstream.KeyValueEntry) bool {
			fresh = false
			return false
		}, jetstream.MetaOnly())
		if err != nil {
			return false, fmt.Errorf("looking for data of an earlier encryption key: %w", err)
		}
	}
	return fresh, nil
}

// opens reports whether a ring decrypts a value, or there is none.
func (k *Keys) opens(ctx context.Context, g *ring) (bool, error) {
	tried, opened := 0, false
	for _, b := range k.sealed {
		err := scan(ctx, b.kv, allKeys, func(entry jetstream.KeyValueEntry) bool {
			tried++
			opened = opened || g.opensOne(b, entry)
			return !opened && tried < maxTrial
		})
		if err != nil {
			return false, fmt.Errorf("checking the encryption key: %w", err)
		}
	}
	return opened || tried == 0, nil
}

// opensOne reports whether a ring decrypts one of the values of a record.
func (g *ring) opensOne(b sealedBucket, entry jetstream.KeyValueEntry) bool {
	values, err := b.values(entry.Key(), entry.Value())
	if err != nil {
		return false
	}
	for _, v := range values {
		if plain, err := g.keys.Decrypt(v.text, v.place); err == nil {
			clear(plain)
			return true
		}
	}
	return false
}
