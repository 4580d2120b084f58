package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// index finds the connections of a provider's account in memory. It follows
// the bucket of connections.
type index struct {
	// appeared, if set, is called with an account that has a connection which it
	// had not, and whether that was so at the start.
	appeared func(a account, c *events.Connection, atStart bool)

	loaded atomic.Bool
	whole  chan struct{} // closed when it is

	mu        sync.RWMutex
	byAccount map[account][]owner // :: provider's account → its connections, in the order of their keys
	accounts  map[string]account  // :: key in the bucket → the account it is filed under
}

type account struct{ provider, id string }

type owner struct{ key, user, connection string }

func newIndex() *index {
	return &index{whole: make(chan struct{}), byAccount: map[account][]owner{}, accounts: map[string]account{}}
}

// owners lists the connections of an account. An empty account has none. The list
// is not to be changed: it is replaced where connections come and go.
func (x *index) owners(provider, id string) []owner {
	if id == "" {
		return nil
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byAccount[account{provider, id}]
}

// follow keeps the index up to date until ctx ends.
func (x *index) follow(ctx context.Context, kv jetstream.KeyValue) error {
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watching connections: %w", err)
	}
	defer watcher.Stop() //nolint:errcheck // the watch ends with ctx anyway
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				if ctx.Err() != nil {
					return nil
				}
				return errors.New("watching connections: the watch ended")
			case entry == nil:
				if !x.loaded.Swap(true) {
					close(x.whole)
				}
			default:
				x.apply(entry.Key(), entry.Operation(), entry.Value())
			}
		}
	}
}

// apply files one change. A record that cannot be read is filed nowhere; the
// auth service reports it.
func (x *index) apply(key string, op jetstream.KeyValueOp, value []byte) {
	var c events.Connection
	gone := op != jetstream.KeyValuePut || json.Unmarshal(value, &c) != nil || c.Account == ""
	a := account{c.Provider, c.Account}
	if isNew := x.file(key, a, owner{key, c.UserID, c.ID}, gone); isNew && x.appeared != nil {
		x.appeared(a, &c, !x.loaded.Load())
	}
}

// file files a connection under an account, or nowhere, and reports whether it
// was not there before.
func (x *index) file(key string, a account, o owner, gone bool) (isNew bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, was := x.accounts[key]
	x.remove(key)
	if gone {
		return false
	}
	x.accounts[key] = a
	x.byAccount[a] = append(slices.Clip(x.byAccount[a]), o)
	return !was || before != a
}

func (x *index) remove(key string) {
	a, ok := x.accounts[key]
	if !ok {
		return
	}
	delete(x.accounts, key)
	rest := slices.DeleteFunc(slices.Clone(x.byAccount[a]), func(o owner) bool { return o.key == key })
	if len(rest) == 0 {
		delete(x.byAccount, a)
		return
	}
	x.byAccount[a] = rest
}
