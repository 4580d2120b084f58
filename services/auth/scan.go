package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// allKeys is the filter that every key matches.
	allKeys = jetstream.AllKeys

	scanTimeout = 30 * time.Second
)

// scan calls visit for the entries whose keys match filter, in no order that
// matters, until visit reports false. An entry that changes meanwhile may come
// twice. Unlike the listings of nats.go it is an error here if not all of them
// were seen.
func scan(ctx context.Context, kv jetstream.KeyValue, filter string, visit func(jetstream.KeyValueEntry) bool, opts ...jetstream.WatchOpt) error {
	// The watch has a context of its own, which ends after it: a watcher whose
	// context ends while it is being made never closes its channel.
	watched, cancel := context.WithTimeout(context.WithoutCancel(ctx), scanTimeout)
	defer cancel()
	watcher, err := kv.Watch(watched, filter, append(opts, jetstream.IgnoreDeletes())...)
	if err != nil {
		return fmt.Errorf("listing keys: %w", err)
	}
	defer endWatch(watcher)
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.Join(errors.New("listing keys: cut short"), watched.Err())
			case entry == nil || !visit(entry):
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("listing keys: %w", ctx.Err())
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
