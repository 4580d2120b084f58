package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// restBeforeDestroy is how long a key must have been disabled before it is
// destroyed: longer than any write takes that was encrypted under it before.
const restBeforeDestroy = time.Minute

// keyRefusal is why a change of the keys is not made. Its text is for the
// operator and shows nothing secret.
type keyRefusal struct {
	status int // of HTTP
	reason string
}

// Error returns the reason.
func (r *keyRefusal) Error() string { return r.reason }

func keyConflict(format string, args ...any) error {
	return &keyRefusal{status: http.StatusConflict, reason: fmt.Sprintf(format, args...)}
}

func noSuchKey(id uint32) error {
	return &keyRefusal{status: http.StatusNotFound, reason: fmt.Sprintf("there is no key %d; see: plugfn key list", id)}
}

// change makes one change to the keyset by compare-and-swap. edit gets a copy
// of the record and the keyset, and returns the keyset as it should be from now
// on; it is called again where another process was faster.
func (k *Keys) change(ctx context.Context, edit func(*keyRecord, *keyset.Handle) (*keyset.Handle, error)) error {
	for range maxTries {
		r, revision, err := k.read(ctx)
		if err != nil {
			return err
		}
		handle, err := k.keyset(ctx, r)
		if err != nil {
			return err
		}
		next := r.clone()
		edited, err := edit(&next, handle)
		if err != nil {
			return err
		}
		err = k.commit(ctx, next, revision, edited)
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return err
		}
	}
	return errors.New("the keyset keeps changing; try again")
}

// begin makes this the only change to the keys until end is called: in this
// process, and among those that share the keyset file. On the bus
// compare-and-swap is enough, a file has none.
func (k *Keys) begin() (end func(), err error) {
	if !k.edit.TryLock() {
		return nil, errOtherChange
	}
	if k.cfg.Wrapper != nil {
		return k.edit.Unlock, nil
	}
	lock, err := os.OpenFile(k.cfg.Path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = lockFile(lock)
	}
	if err != nil {
		_ = lock.Close() // nil if it does not open, which Close takes
		k.edit.Unlock()
		if errors.Is(err, errLocked) {
			return nil, errOtherChange
		}
		return nil, errKeptFile(err)
	}
	return func() {
		_ = lock.Close() // which unlocks
		k.edit.Unlock()
	}, nil
}

var (
	errOtherChange = keyConflict("another change of the keys is under way: try again when it is done")
	errLocked      = errors.New("locked")
)

func errKeptFile(cause error) error {
	return keyConflict("the keyset file cannot be written: %v; nothing was changed; make it writable, or set a key that wraps the keyset: then it is kept on the bus", cause)
}

// errNothingToDo ends a change that another process has made already.
var errNothingToDo = errors.New("nothing to do")

// rotate makes a new key the primary one: first every process has it, then it
// is used. When it returns all of them encrypt under it. Cut short anywhere it is simply begun again; it goes on with the key
// that is staged already.
func (k *Keys) rotate(ctx context.Context) error {
	end, err := k.begin()
	if err != nil {
		return err
	}
	defer end()
	id, err := k.stage(ctx)
	if err != nil {
		return err
	}
	if err := k.await(ctx, k.current.Load().record.Generation); err != nil {
		return err
	}
	if err := k.promote(ctx, id); err != nil {
		return err
	}
	if err := k.await(ctx, k.current.Load().record.Generation); err != nil {
		k.cfg.Log.Warn().Err(err).Msg("encryption keys rotated, but a process may still encrypt under the old one: it is waited for again before that is disabled")
	}
	return nil
}

// stage returns a key that is not used yet, a new one if there is none.
func (k *Keys) stage(ctx context.Context) (staged uint32, err error) {
	err = k.change(ctx, func(r *keyRecord, handle *keyset.Handle) (*keyset.Handle, error) {
		if staged = stagedKey(r, handle); staged != 0 {
			return nil, errNothingToDo
		}
		r.Keys = slices.DeleteFunc(r.Keys, func(s keyState) bool { return s.Status == keyStaged }) // lost before it was used
		if len(r.Keys) == maxKeys {
			return nil, keyConflict("there are %d keys already: destroy those that are not needed any more", maxKeys)
		}
		more, id, err := addKey(handle)
		if err != nil {
			return nil, err
		}
		state, err := newKeyState(more, id, keyStaged)
		if err != nil {
			return nil, err
		}
		state.CreatedAt = k.cfg.Now().UTC()
		state.ChangedAt = state.CreatedAt
		r.Keys = append(r.Keys, state)
		staged = id
		// The file first, and all keys that were in it: a record must never list
		// a key that is nowhere. One that the record does not list is not used.
		if err := k.keep(more); err != nil {
			return nil, errKeptFile(err)
		}
		return more, nil
	})
	if errors.Is(err, errNothingToDo) {
		err = k.reload(ctx)
	}
	return staged, err
}

// stagedKey returns the staged key that the keyset has; 0 if it has none.
func stagedKey(r *keyRecord, handle *keyset.Handle) uint32 {
	for _, id := range r.of(keyStaged) {
		if slices.Contains(keyIDs(handle), id) {
			return id
		}
	}
	return 0
}

// keep writes the keyset file, where there is one.
func (k *Keys) keep(handle *keyset.Handle) error {
	if k.cfg.Wrapper != nil {
		return nil
	}
	return replaceKeyset(k.cfg.Path, handle)
}

// promote makes a staged key the primary one.
func (k *Keys) promote(ctx context.Context, id uint32) error {
	err := k.change(ctx, func(r *keyRecord, handle *keyset.Handle) (*keyset.Handle, error) {
		s := r.key(id)
		switch {
		case s != nil && s.Status == keyPrimary:
			return nil, errNothingToDo
		case s == nil || s.Status != keyStaged:
			return nil, keyConflict("key %d was disabled meanwhile; nothing is encrypted under it", id)
		}
		r.promote(id, k.cfg.Now())
		return handle, nil
	})
	if errors.Is(err, errNothingToDo) {
		err = k.reload(ctx)
	}
	return err
}

// disable takes a key out of use that nothing is under.
func (k *Keys) disable(ctx context.Context, id uint32) error {
	end, err := k.begin()
	if err != nil {
		return err
	}
	defer end()
	if err := k.reload(ctx); err != nil {
		return err
	}
	// Whoever has this generation does not encrypt under the key any more.
	generation := k.current.Load().record.Generation
	if err := k.await(ctx, generation); err != nil {
		return err
	}
	return k.change(ctx, func(r *keyRecord, handle *keyset.Handle) (*keyset.Handle, error) {
		s := r.key(id)
		switch {
		case s == nil:
			return nil, noSuchKey(id)
		case s.Status == keyPrimary:
			return nil, keyConflict("key %d is the primary one: rotate first", id)
		case s.Status == keyDisabled:
			return nil, keyConflict("key %d is disabled already", id)
		case r.Generation != generation: // which not everybody may have
			return nil, errOtherChange
		}
		if err := k.unused(ctx, id); err != nil {
			return nil, err
		}
		r.set(id, keyDisabled, k.cfg.Now())
		return handle, nil
	})
}

// enable takes a key into use again that was disabled.
func (k *Keys) enable(ctx context.Context, id uint32) error {
	end, err := k.begin()
	if err != nil {
		return err
	}
	defer end()
	return k.change(ctx, func(r *keyRecord, handle *keyset.Handle) (*keyset.Handle, error) {
		s := r.key(id)
		switch {
		case s == nil:
			return nil, noSuchKey(id)
		case s.Status != keyDisabled:
			return nil, keyConflict("key %d is not disabled", id)
		case !slices.Contains(keyIDs(handle), id):
			return nil, keyConflict("key %d is not in the keyset any more: put back the file that has it", id)
		}
		r.set(id, keyEnabled, k.cfg.Now())
		return handle, nil
	})
}

// destroy removes a key for ever.
func (k *Keys) destroy(ctx context.Context, id uint32) error {
	end, err := k.begin()
	if err != nil {
		return err
	}
	defer end()
	var left *keyset.Handle
	err = k.change(ctx, func(r *keyRecord, handle *keyset.Handle) (_ *keyset.Handle, err error) {
		s := r.key(id)
		if s == nil && !slices.Contains(keyIDs(handle), id) {
			return nil, noSuchKey(id)
		}
		if s != nil {
			if err := k.mayGo(ctx, *s); err != nil {
				return nil, err
			}
			r.Keys = slices.DeleteFunc(r.Keys, func(s keyState) bool { return s.ID == id })
		}
		left, err = withoutKey(handle, r.primary(), id)
		return left, err
	})
	if err != nil {
		return err
	}
	// The file last: cut short here, it holds a key that the record does not
	// list, and destroy goes on when it is asked again.
	if err := k.keep(left); err != nil {
		return keyConflict("key %d is not used any more, but it is still in the keyset file, which cannot be written: %v; mend that and try again", id, err)
	}
	return nil
}

// mayGo refuses to destroy a key that may be missed.
func (k *Keys) mayGo(ctx context.Context, s keyState) error {
	if s.Status != keyDisabled {
		return keyConflict("key %d is not disabled: plugfn key disable %d", s.ID, s.ID)
	}
	if rest := restBeforeDestroy - k.cfg.Now().Sub(s.ChangedAt); rest > 0 {
		return keyConflict("key %d was disabled less than a minute ago, and a write from before may be under way: try again in %s", s.ID, rest.Round(time.Second))
	}
	return k.unused(ctx, s.ID)
}

// unused refuses where records are under a key.
func (k *Keys) unused(ctx context.Context, id uint32) error {
	used, err := k.count(ctx)
	if err != nil {
		return err
	}
	if n := used.under[id]; n > 0 {
		return keyConflict("%d values are encrypted under key %d: plugfn key reencrypt", n, id)
	}
	return nil
}

// withoutKey returns the keyset without a key.
func withoutKey(handle *keyset.Handle, primary, id uint32) (*keyset.Handle, error) {
	manager := keyset.NewManagerFromHandle(handle)
	if err := manager.SetPrimary(primary); err != nil {
		return nil, errNotAKeyset
	}
	if err := manager.Delete(id); err != nil {
		return nil, errNotAKeyset
	}
	return manager.Handle()
}
