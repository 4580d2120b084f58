package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/id"
)

// Wrapper encrypts the keyset under a key that PlugFn does not keep: a KEK of
// the operator's (see [NewKEK]), or a key in a KMS. It is asked at the start and
// at each change of the keyset, never for a credential. Its errors must not
// quote what they were given. It must be safe for concurrent use.
type Wrapper interface {
	Wrap(ctx context.Context, plain []byte) (wrapped []byte, err error)
	Unwrap(ctx context.Context, wrapped []byte) (plain []byte, err error)
}

// KeysConfig says where the encryption keys are and what they are used for.
// JetStream must be set, and Path or Wrapper.
type KeysConfig struct {
	JetStream jetstream.JetStream

	// Path of the keyset file, a Tink keyset in JSON. With a Wrapper it is read
	// once at most, to take over the keys of earlier days.
	Path string

	// Wrapper, if set, has the keyset kept on the bus, encrypted by it.
	Wrapper Wrapper

	Log zerolog.Logger
	Now func() time.Time // nil: time.Now
}

// Keys encrypts and decrypts what the auth service keeps. Its zero value cannot
// be used. It is safe for concurrent use.
//
// It follows the keys as they are rotated while the [Service] that it belongs to
// runs; a ciphertext under a key that it does not know makes it look for newer
// keys at any time.
type Keys struct {
	primitive tink.AEAD // encrypts with the primary key, decrypts with all

	cfg    KeysConfig
	bucket jetstream.KeyValue
	sealed []sealedBucket
	reader string // this process among those that use the keys

	current atomic.Pointer[ring]
	edit    sync.Mutex // one change at a time in this process

	lookout sync.Mutex
	looked  time.Time // when it was last looked for a key that is not known

	patience time.Duration // how long is waited for a process that does not answer
}

// ErrWrapped is what OpenKeys fails with where the keyset needs a Wrapper and
// there is none.
var ErrWrapped = errors.New("the keyset on the bus is encrypted, and no key was given that opens it; nothing was changed")

// OpenKeys opens the keyset and makes sure that it is the one of the data. On
// the very first start, with no keyset and nothing encrypted anywhere, it
// generates one and reports true. Without a Wrapper it writes it to Path with
// mode 0600: tell the operator to keep a copy.
//
// In every other case it changes nothing, but that a keyset from the file is
// taken to the bus once there is a Wrapper. A missing file, a wrong key or a
// file that others may read is an error that says so and names the fix.
func OpenKeys(ctx context.Context, cfg KeysConfig) (keys *Keys, created bool, err error) {
	k, err := newKeys(ctx, cfg)
	if err != nil {
		return nil, false, fmt.Errorf("opening the encryption keys: %w", err)
	}
	created, err = k.open(ctx)
	if err != nil {
		return nil, false, err
	}
	return k, created, nil
}

func newKeys(ctx context.Context, cfg KeysConfig) (*Keys, error) {
	if cfg.JetStream == nil || cfg.Path == "" && cfg.Wrapper == nil {
		return nil, errors.New("JetStream is needed, and Path or Wrapper")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	bucket, err := cfg.JetStream.KeyValue(ctx, bus.BucketKeys)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bus.BucketKeys, err)
	}
	sealed, err := openSealed(ctx, cfg.JetStream)
	if err != nil {
		return nil, err
	}
	k := &Keys{cfg: cfg, bucket: bucket, sealed: sealed, reader: id.New("prc"), patience: readerPatience}
	k.primitive = latest{k}
	return k, nil
}

// latest is the AEAD of whatever keys there are at the time.
type latest struct{ keys *Keys }

// Encrypt encrypts under the primary key.
func (l latest) Encrypt(plain, place []byte) ([]byte, error) {
	return l.keys.current.Load().keys.Encrypt(plain, place)
}

// Decrypt decrypts what is under any key that is not disabled.
func (l latest) Decrypt(sealed, place []byte) ([]byte, error) {
	used := l.keys.current.Load()
	plain, err := used.keys.Decrypt(sealed, place)
	if err == nil || !used.lacks(sealed) {
		return plain, err
	}
	return l.keys.catchUp(used).keys.Decrypt(sealed, place)
}

const (
	catchUpTimeout = 2 * time.Second
	catchUpEvery   = time.Second // or a damaged record would cost a read each time
)

// catchUp returns newer keys than those of seen, if there are any.
func (k *Keys) catchUp(seen *ring) *ring {
	k.lookout.Lock()
	defer k.lookout.Unlock()
	if now := k.current.Load(); now != seen || time.Since(k.looked) < catchUpEvery {
		return now
	}
	k.looked = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), catchUpTimeout)
	defer cancel()
	if err := k.reload(ctx); err != nil {
		k.cfg.Log.Error().Err(err).Msg("encryption keys not reloaded")
	}
	return k.current.Load()
}

// reload takes the newest generation into use.
func (k *Keys) reload(ctx context.Context) error {
	r, _, err := k.read(ctx)
	if err != nil {
		return err
	}
	return k.take(ctx, r)
}

// take takes a generation into use, unless it or a newer one is already.
func (k *Keys) take(ctx context.Context, r keyRecord) error {
	if used := k.current.Load(); r.Generation <= used.record.Generation && len(used.missing) == 0 {
		return nil
	}
	handle, err := k.keyset(ctx, r)
	if err != nil {
		return err
	}
	made, err := newRing(r, handle)
	if err != nil {
		return k.explain(r, err)
	}
	k.use(made)
	return nil
}

// use takes a ring into use, but never one that is older.
func (k *Keys) use(made *ring) {
	for {
		used := k.current.Load()
		if used != nil && used.record.Generation > made.record.Generation {
			return
		}
		if k.current.CompareAndSwap(used, made) {
			return
		}
	}
}

// read returns the record of the keyset.
func (k *Keys) read(ctx context.Context) (r keyRecord, revision uint64, err error) {
	entry, err := k.bucket.Get(ctx, keysetKey)
	if err != nil {
		return keyRecord{}, 0, fmt.Errorf("reading the keyset record: %w", err)
	}
	if r, err = decodeKeyRecord(entry.Value()); err != nil {
		return keyRecord{}, 0, fmt.Errorf("the keyset record in bucket %s cannot be read: %w; nothing was changed; restore the bucket from your backup", bus.BucketKeys, err)
	}
	return r, entry.Revision(), nil
}

// keyset returns the keys that a record is about.
func (k *Keys) keyset(ctx context.Context, r keyRecord) (*keyset.Handle, error) {
	if len(r.Wrapped) == 0 {
		return k.keysetFile()
	}
	if k.cfg.Wrapper == nil {
		return nil, ErrWrapped
	}
	text, err := k.cfg.Wrapper.Unwrap(ctx, r.Wrapped)
	if err != nil {
		return nil, fmt.Errorf("the keyset on the bus does not open: %w; nothing was changed", err)
	}
	defer clear(text)
	handle, err := parseKeyset(text)
	if err != nil {
		return nil, fmt.Errorf("the keyset on the bus is damaged: %w; nothing was changed; restore bucket %s from your backup", err, bus.BucketKeys)
	}
	return handle, nil
}

func (k *Keys) keysetFile() (*keyset.Handle, error) {
	if k.cfg.Path == "" {
		return nil, fmt.Errorf("opening the encryption key: no path: %w", os.ErrNotExist)
	}
	return readKeyset(k.cfg.Path)
}

// explain says of a keyset that does not fit its record where it came from.
func (k *Keys) explain(r keyRecord, err error) error {
	if len(r.Wrapped) > 0 {
		return fmt.Errorf("the keyset on the bus %w; nothing was changed; restore bucket %s from your backup", err, bus.BucketKeys)
	}
	return fmt.Errorf("encryption key in %s %w; nothing was changed; put the right file back", k.cfg.Path, err)
}
