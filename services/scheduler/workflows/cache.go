package workflows

import (
	"container/list"
	"sync"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// cache remembers the versions that were used last. A version never changes, so
// what is in it is right for ever.
type cache struct {
	most int

	mu    sync.Mutex
	order *list.List // of *compiled, the one used last in front
	known map[string]*list.Element
}

// compiled is a version, or why it cannot be compiled any more.
type compiled struct {
	key     string
	program *workflow.Program
	err     error
}

func newCache(most int) *cache {
	return &cache{most: most, order: list.New(), known: map[string]*list.Element{}}
}

func (c *cache) get(key string) (*compiled, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*compiled), true
}

func (c *cache) put(v *compiled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.known[v.key]; ok {
		e.Value = v
		c.order.MoveToFront(e)
		return
	}
	c.known[v.key] = c.order.PushFront(v)
	for c.order.Len() > c.most {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.known, last.Value.(*compiled).key)
	}
}
