package auth

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
)

// allKeys is the filter that every key matches.
const allKeys = jetstream.AllKeys

// scan is [bus.Scan].
func scan(ctx context.Context, kv jetstream.KeyValue, filter string, visit func(jetstream.KeyValueEntry) bool, opts ...jetstream.WatchOpt) error {
	return bus.Scan(ctx, kv, filter, visit, opts...)
}

// endWatch stops a watcher and takes what it still has, because it would wait
// for ever to hand it over.
func endWatch(watcher jetstream.KeyWatcher) {
	_ = watcher.Stop()            // fails only where it has stopped already
	for range watcher.Updates() { // until it is closed
	}
}
