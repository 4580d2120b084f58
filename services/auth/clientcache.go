package auth

import (
	"container/list"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// maxCached is how many credentials a Client remembers: those used last.
const maxCached = 10_000

// cache remembers credentials for as long as the service allows, a minute at
// most. It is of use only while somebody tells it of changes.
type cache struct {
	mu     sync.Mutex
	on     bool
	order  *list.List                          // of *cached, the one used last in front
	owners map[string]map[string]*list.Element // :: user's and provider's token → connection asked for → what came
	asking map[string][]*asking                // :: user's and provider's token → requests under way
}

type cached struct {
	owner, id  string // id as it was asked for: "" for the default
	credential providers.Credential
	until      time.Time // by the monotonic clock
}

// asking is a request under way. What comes of it is not remembered if something
// changed meanwhile.
type asking struct{ stale bool }

func newCache() *cache {
	return &cache{order: list.New(), owners: map[string]map[string]*list.Element{}, asking: map[string][]*asking{}}
}

// get returns what is remembered for a request.
func (c *cache) get(owner, id string) (providers.Credential, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.owners[owner][id]
	if !ok {
		return providers.Credential{}, false
	}
	known := e.Value.(*cached)
	if time.Now().After(known.until) {
		c.remove(e)
		return providers.Credential{}, false
	}
	c.order.MoveToFront(e)
	return known.credential, true
}

// begin notes that a request is under way.
func (c *cache) begin(owner string) *asking {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &asking{}
	c.asking[owner] = append(c.asking[owner], a)
	return a
}

// end remembers what came of a request, unless keep is nil.
func (c *cache) end(a *asking, owner string, keep *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.asking[owner][:0]
	for _, other := range c.asking[owner] {
		if other != a {
			rest = append(rest, other)
		}
	}
	c.asking[owner] = rest
	if len(rest) == 0 {
		delete(c.asking, owner)
	}
	if keep != nil && c.on && !a.stale {
		c.put(keep)
	}
}

func (c *cache) put(keep *cached) {
	if e, ok := c.owners[keep.owner][keep.id]; ok {
		c.remove(e)
	}
	if c.owners[keep.owner] == nil {
		c.owners[keep.owner] = map[string]*list.Element{}
	}
	c.owners[keep.owner][keep.id] = c.order.PushFront(keep)
	if c.order.Len() > maxCached {
		c.remove(c.order.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	gone := c.order.Remove(e).(*cached)
	delete(c.owners[gone.owner], gone.id)
	if len(c.owners[gone.owner]) == 0 {
		delete(c.owners, gone.owner)
	}
}

// drop forgets all of an owner: a change of one connection can change which one
// is meant.
func (c *cache) drop(owner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.owners[owner] {
		c.remove(e)
	}
	for _, a := range c.asking[owner] {
		a.stale = true
	}
}

// reset forgets everything, and remembers from now on or not.
func (c *cache) reset(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
	c.order.Init()
	clear(c.owners)
	for _, all := range c.asking {
		for _, a := range all {
			a.stale = true
		}
	}
}

// Run has the Client remember credentials until ctx ends: each for as long as
// the auth service allows, a minute at most, and until it hears that something
// has changed about the user's connections to the provider. A Client that does
// not run asks each time.
func (c *Client) Run(ctx context.Context) error {
	subscription, err := c.conn.Subscribe(events.PrefixConnection+"*.*.*", func(msg *nats.Msg) {
		if owner, ok := ownerOf(msg.Subject); ok {
			c.cache.drop(owner)
		}
	})
	if err != nil {
		return fmt.Errorf("auth client: following changes: %w", err)
	}
	defer subscription.Unsubscribe() //nolint:errcheck // of a closed connection: it has ended already
	// While the connection is away, changes pass unheard.
	changed := c.conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer c.conn.RemoveStatusListener(changed)
	flushing, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c.cache.reset(c.conn.FlushWithContext(flushing) == nil)
	defer c.cache.reset(false)
	for {
		select {
		case <-ctx.Done():
			return nil
		case status := <-changed:
			c.cache.reset(status == nats.CONNECTED)
		}
	}
}

// ownerOf reads user and provider of plugfn.connection.<user>.<provider>.<change>.
func ownerOf(subject string) (string, bool) {
	rest := strings.TrimPrefix(subject, events.PrefixConnection)
	i := strings.LastIndexByte(rest, '.')
	if i < 0 || rest[i+1:] == string(events.Due) {
		return "", false
	}
	return rest[:i], true
}
