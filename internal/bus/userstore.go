package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// maxTries is how often a change is tried again that others were faster with.
const maxTries = 8

// userStore keeps users, by name, in the bucket BucketUsers.
type userStore struct{ kv jetstream.KeyValue }

// load returns the record of u as it is, or u as a new one at revision 0.
func (s userStore) load(ctx context.Context, u User) (User, uint64, error) {
	entry, err := s.kv.Get(ctx, u.name())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return User{ID: u.ID}, 0, nil
	}
	if err != nil {
		return u, 0, fmt.Errorf("reading the record: %w", err)
	}
	have, err := decodeUser(entry)
	if err != nil {
		return u, 0, fmt.Errorf("%w: remove it (nats kv purge %s %s)", err, BucketUsers, u.name())
	}
	if have.ID != u.ID {
		err = fmt.Errorf("user %q has the same hash %s in subjects", have.ID, events.Token(u.ID))
	}
	return have, entry.Revision(), err
}

// change edits the record of u, and makes it if it is not there.
func (s userStore) change(ctx context.Context, u User, edit func(*User) error) error {
	return s.insist(ctx, u, func(have User, revision uint64) error {
		if err := edit(&have); err != nil {
			return err
		}
		value, err := json.Marshal(have)
		if err != nil {
			return fmt.Errorf("writing the record: %w", err)
		}
		if revision == 0 {
			_, err = s.kv.Create(ctx, u.name(), value)
		} else {
			_, err = s.kv.Update(ctx, u.name(), value, revision)
		}
		return err
	})
}

// remove deletes the record of u and returns the keys that were in it.
func (s userStore) remove(ctx context.Context, u User) (keys []string, err error) {
	err = s.insist(ctx, u, func(have User, revision uint64) error {
		if revision == 0 {
			return ErrNoUser
		}
		keys = nil
		for _, key := range have.Keys {
			keys = append(keys, key.Public)
		}
		return s.kv.Purge(ctx, u.name(), jetstream.LastRevision(revision))
	})
	return keys, err
}

// insist reads and writes until nobody was faster in between.
func (s userStore) insist(ctx context.Context, u User, write func(User, uint64) error) error {
	for range maxTries {
		have, revision, err := s.load(ctx, u)
		if err != nil {
			return err
		}
		err = write(have, revision)
		if !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return err
		}
	}
	return errors.New("the record keeps changing: try again")
}

func decodeUser(entry jetstream.KeyValueEntry) (User, error) {
	var u User
	if err := json.Unmarshal(entry.Value(), &u); err != nil {
		return u, fmt.Errorf("reading the record %s: %w", entry.Key(), err)
	}
	if u.check() != nil || u.name() != entry.Key() {
		return u, fmt.Errorf("reading the record %s: it is not of the user of its key", entry.Key())
	}
	return u, nil
}

func listUsers(ctx context.Context, kv jetstream.KeyValue) ([]User, error) {
	var users []User
	err := eachUser(ctx, kv, func(entry jetstream.KeyValueEntry) bool {
		if entry == nil {
			return false
		}
		u, err := decodeUser(entry)
		if err == nil && entry.Operation() == jetstream.KeyValuePut {
			users = append(users, u)
		}
		return true
	})
	return users, err
}

// eachUser calls visit for each record, then with nil once, then for each
// change, until visit reports false or ctx ends.
func eachUser(ctx context.Context, kv jetstream.KeyValue, visit func(jetstream.KeyValueEntry) bool) error {
	// The watch has a context of its own, which ends after it: a watcher whose
	// context ends while it is being made never closes its channel.
	watcher, err := kv.WatchAll(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("watching %s: %w", kv.Bucket(), err)
	}
	defer endWatch(watcher)
	for {
		select {
		case entry, open := <-watcher.Updates():
			if !open {
				return fmt.Errorf("watching %s: it broke off", kv.Bucket())
			}
			if !visit(entry) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("watching %s: %w", kv.Bucket(), ctx.Err())
		}
	}
}

// endWatch stops a watcher and takes what it still has, because it would wait
// for ever to hand it over.
func endWatch(watcher jetstream.KeyWatcher) {
	_ = watcher.Stop()            // fails only where it has stopped already
	for range watcher.Updates() { // until it is closed
	}
}
