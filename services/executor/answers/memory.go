package answers

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"
)

// maxMarks bounds the marks in memory, which are small.
const maxMarks = 100_000

// overhead is about what an entry costs beside its key and its value.
const overhead = 200

// Memory is a store in the memory of this process. Of what does not fit, it
// gives up what was not used for longest.
type Memory struct {
	maxBytes int64
	now      func() time.Time

	mu     sync.Mutex
	bytes  int64
	byKey  map[string]*list.Element
	recent *list.List        // of *entry, the last used in front
	stamps map[string]string // :: mark → stamp
	first  string            // what stands at marks without a stamp
}

type entry struct {
	key   string
	value []byte
	until time.Time
}

func (e *entry) size() int64 { return int64(len(e.key)+len(e.value)) + overhead }

// NewMemory makes a store of at most maxBytes. now nil: time.Now.
func NewMemory(maxBytes int64, now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	m := &Memory{maxBytes: maxBytes, now: now, recent: list.New()}
	m.clear()
	return m
}

// Get implements [Store]; it never fails.
func (m *Memory) Get(_ context.Context, key string, marks []string) ([]byte, []string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var stamps []string
	for _, mark := range marks {
		stamp, ok := m.stamps[mark]
		if !ok {
			stamp = m.first
		}
		stamps = append(stamps, stamp)
	}
	element, ok := m.byKey[key]
	if !ok {
		return nil, stamps, nil
	}
	e := element.Value.(*entry) //nolint:forcetypeassert // recent holds nothing else
	if !m.now().Before(e.until) {
		m.remove(element)
		return nil, stamps, nil
	}
	m.recent.MoveToFront(element)
	return e.value, stamps, nil
}

// Put implements [Store]; it never fails. A value that would take more than an
// eighth of the room is not kept.
func (m *Memory) Put(_ context.Context, key string, value []byte, ttl time.Duration) error {
	e := &entry{key: key, value: slices.Clone(value), until: m.now().Add(min(ttl, MaxTTL))}
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.byKey[key]; ok {
		m.remove(before)
	}
	if e.size() > m.maxBytes/8 || ttl <= 0 {
		return nil
	}
	m.byKey[key] = m.recent.PushFront(e)
	m.bytes += e.size()
	for m.bytes > m.maxBytes {
		m.remove(m.recent.Back())
	}
	return nil
}

// Stamp implements [Store]; it never fails. Stamps do not age here: where they
// are too many, everything is given up.
func (m *Memory) Stamp(_ context.Context, marks []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.stamps)+len(marks) > maxMarks {
		m.clear()
		m.first = newStamp() // what is on its way was asked for before
	}
	for _, mark := range marks {
		m.stamps[mark] = newStamp()
	}
	return nil
}

func (m *Memory) remove(element *list.Element) {
	e := m.recent.Remove(element).(*entry) //nolint:forcetypeassert // recent holds nothing else
	delete(m.byKey, e.key)
	m.bytes -= e.size()
}

func (m *Memory) clear() {
	m.recent.Init()
	m.byKey, m.stamps, m.bytes = map[string]*list.Element{}, map[string]string{}, 0
}
