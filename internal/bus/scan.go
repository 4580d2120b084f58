package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// scanTimeout bounds one scan.
const scanTimeout = 30 * time.Second

// Scan calls visit for the entries of a bucket whose keys match filter, in no
// order that matters, until visit reports false. An entry that changes meanwhile
// may come twice. Unlike the listings of nats.go it is an error here if not all
// of them were seen.
func Scan(ctx context.Context, kv jetstream.KeyValue, filter string, visit func(jetstream.KeyValueEntry) bool, opts ...jetstream.WatchOpt) error {
	// The watch has a context of its own, which ends after it: a watcher whose
	// context ends while it is being made never closes its channel.
	watched, cancel := context.WithTimeout(context.WithoutCancel(ctx), scanTimeout)
	defer cancel()
	watcher, err := kv.Watch(watched, filter, append(opts, jetstream.IgnoreDeletes())...)
	if err != nil {
		return fmt.Errorf("listing keys of %s: %w", kv.Bucket(), err)
	}
	defer endWatch(watcher)
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.Join(fmt.Errorf("listing keys of %s: cut short", kv.Bucket()), watched.Err())
			case entry == nil || !visit(entry):
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("listing keys of %s: %w", kv.Bucket(), ctx.Err())
		}
	}
}
