package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// index knows the connections in memory, so that a request for a credential
// looks through nothing. It follows the bucket and so is late by the time that a
// change travels: what is in it says where to look, never what is true. A miss
// means to ask the bucket.
//
// It is safe for concurrent use.
type index struct {
	opens  func(*record) bool      // whether the credential of a record can be read
	due    func(*record) time.Time // when something has to be done about a record
	loaded chan struct{}           // closed once all of the bucket was seen
	once   sync.Once

	mu       sync.RWMutex
	position uint64                   // revision up to which the bucket was followed
	entries  map[string]*indexed      // :: key → what is known of its record
	byOwner  map[string][]string      // :: user's and provider's token → keys, ascending
	byID     map[string][]string      // :: id's token → keys; one, unless somebody copied a record
	waiting  map[string]chan struct{} // :: key → closed at its next change
	groups   map[group]int            // how many entries are of each
}

// group is what entries are counted by.
type group struct {
	provider string
	status   events.ConnectionStatus
}

// indexed is what is known of a record.
type indexed struct {
	candidate
	account  string
	auth     string
	status   events.ConnectionStatus
	revision uint64
	seen     time.Time // when this revision came here, by the monotonic clock
	load     int       // that it was seen in
	due      time.Time // when something has to be done about it; zero: never
	job      job       // that does it
}

func newIndex(opens func(*record) bool, due func(*record) time.Time) *index {
	return &index{
		opens:   opens,
		due:     due,
		loaded:  make(chan struct{}),
		entries: map[string]*indexed{},
		byOwner: map[string][]string{},
		byID:    map[string][]string{},
		waiting: map[string]chan struct{}{},
		groups:  map[group]int{},
	}
}

// follow keeps x up to date until ctx ends or the bucket cannot be followed any
// more. Called again, it loads everything anew.
func (x *index) follow(ctx context.Context, kv jetstream.KeyValue, load int) error {
	watched, cancel := context.WithCancel(context.WithoutCancel(ctx)) // see scan
	defer cancel()
	watcher, err := kv.WatchAll(watched)
	if err != nil {
		return fmt.Errorf("following the connections: %w", err)
	}
	defer endWatch(watcher)
	x.mu.Lock()
	x.position = 0
	x.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.New("following the connections: the watch ended")
			case entry == nil:
				x.forgetBefore(load)
				x.once.Do(func() { close(x.loaded) })
			default:
				x.take(entry, load)
			}
		}
	}
}

// take files an entry that the watch brought: these come in order.
func (x *index) take(entry jetstream.KeyValueEntry, load int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.position = max(x.position, entry.Revision())
	x.file(entry.Key(), entry.Revision(), entry.Operation() == jetstream.KeyValuePut, entry.Value(), load)
}

// note files a change that this process made itself, so that it sees it at
// once. What the watch has brought already is newer.
func (x *index) note(key string, revision uint64, value []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if revision <= x.position {
		return
	}
	load := 0
	if known := x.entries[key]; known != nil {
		load = known.load
	}
	x.file(key, revision, value != nil, value, load)
}

func (x *index) file(key string, revision uint64, kept bool, value []byte, load int) {
	if known := x.entries[key]; known != nil && known.revision >= revision {
		known.load = max(known.load, load)
		return
	}
	x.remove(key)
	if kept {
		x.add(x.read(key, revision, value, load))
	}
	if changed, ok := x.waiting[key]; ok {
		close(changed)
		delete(x.waiting, key)
	}
}

func (x *index) read(key string, revision uint64, value []byte, load int) *indexed {
	r, err := decodeRecord(key, value)
	e := &indexed{
		candidate: newCandidate(key, &r, err == nil),
		account:   r.Account, auth: r.Auth, status: r.Status,
		revision: revision, seen: time.Now(), load: load,
	}
	if err != nil || !x.opens(&r) {
		e.status = events.ConnectionError
		return e
	}
	e.due, e.job = x.due(&r), refreshJob(&r)
	return e
}

func (x *index) add(e *indexed) {
	x.entries[e.key] = e
	x.groups[groupOf(e)]++
	owner, id := splitKey(e.key)
	x.byOwner[owner] = insert(x.byOwner[owner], e.key)
	x.byID[id] = insert(x.byID[id], e.key)
}

func (x *index) remove(key string) {
	e, ok := x.entries[key]
	if !ok {
		return
	}
	g := groupOf(e)
	if x.groups[g]--; x.groups[g] == 0 {
		delete(x.groups, g)
	}
	delete(x.entries, key)
	owner, id := splitKey(key)
	drop(x.byOwner, owner, key)
	drop(x.byID, id, key)
}

func groupOf(e *indexed) group { return group{namedBy(e.key).Provider, e.status} }

// counted is how many connections there are of each group.
func (x *index) counted() map[group]int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return maps.Clone(x.groups)
}

// forgetBefore drops what was deleted while nobody followed.
func (x *index) forgetBefore(load int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for key, e := range x.entries {
		if e.load < load && e.revision <= x.position {
			x.remove(key)
		}
	}
}

// splitKey parts a key into its owner, which is the user and the provider, and
// the id.
func splitKey(key string) (owner, id string) {
	dots := 0
	for i := range len(key) {
		if key[i] == '.' {
			if dots++; dots == 2 {
				return key[:i], key[i+1:]
			}
		}
	}
	return key, ""
}

func insert(keys []string, key string) []string {
	i, found := slices.BinarySearch(keys, key)
	if found {
		return keys
	}
	return slices.Insert(keys, i, key)
}

func drop(all map[string][]string, at, key string) {
	keys := all[at]
	if i, found := slices.BinarySearch(keys, key); found {
		keys = slices.Delete(keys, i, i+1)
	}
	if len(keys) == 0 {
		delete(all, at)
		return
	}
	all[at] = keys
}

// sight is the revision of key that is known and since when, zero for none.
func (x *index) sight(key string) (revision uint64, since time.Time) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if e := x.entries[key]; e != nil {
		return e.revision, e.seen
	}
	return 0, time.Time{}
}

// changed is closed at the next change of key. Who waits takes it before he
// looks at the record.
func (x *index) changed(key string) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	c, ok := x.waiting[key]
	if !ok {
		c = make(chan struct{})
		x.waiting[key] = c
	}
	return c
}

// elect returns the key of the connection that a user means who names none;
// false where that is not clear from here.
func (x *index) elect(user, provider string) (key string, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var all election
	for _, key := range x.byOwner[events.Key(user, provider)] {
		if c := x.entries[key].candidate; c.belongsTo(user) {
			all.add(c)
		}
	}
	chosen, ok := all.winner()
	return chosen.key, ok
}

// keysOf lists the keys of an id, of which a user's is the right one.
func (x *index) keysOf(id string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Clone(x.byID[events.Token(id)])
}

// of visits what is known of the connections of a user to a provider, in no
// order; an empty user or provider stands for any.
func (x *index) of(user, provider string, visit func(*indexed)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if user != "" && provider != "" {
		for _, key := range x.byOwner[events.Key(user, provider)] {
			if e := x.entries[key]; e.belongsTo(user) {
				visit(e)
			}
		}
		return
	}
	before, middle := events.Token(user)+".", "."+events.Token(provider)+"."
	for key, e := range x.entries {
		if user != "" && !strings.HasPrefix(key, before) || provider != "" && !strings.Contains(key, middle) {
			continue
		}
		if e.belongsTo(user) {
			visit(e)
		}
	}
}

// isLoaded reports whether the index knows all connections.
func (x *index) isLoaded() bool {
	select {
	case <-x.loaded:
		return true
	default:
		return false
	}
}

// loadPatience is how long who needs all of the index waits for it.
const loadPatience = 5 * time.Second

// wait returns once the index knows all connections.
func (x *index) wait(ctx context.Context) error {
	if x.isLoaded() {
		return nil
	}
	timer := time.NewTimer(loadPatience)
	defer timer.Stop()
	select {
	case <-x.loaded:
		return nil
	case <-timer.C:
		return events.Errorf(events.CodeInternal, "the service is still reading its connections; try again")
	case <-ctx.Done():
		return fmt.Errorf("waiting for the index of connections: %w", ctx.Err())
	}
}
