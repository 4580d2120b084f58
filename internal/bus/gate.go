package bus

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// gate decides whom the embedded server lets in, and as what: roles into
// PlugFn's account, each application into one of its own.
type gate struct {
	roles map[string]Role // :: public key → role

	known     chan struct{} // closed once the applications of the store are known
	knownOnce sync.Once

	mu      sync.RWMutex // read-locked while a client is let in, so that none slips past a removal
	srv     *server.Server
	users   map[string]User   // :: name → user
	keys    map[string]string // :: public key → name
	leaving map[string]bool   // :: public key → its connections are being cut
	changed chan struct{}     // closed and replaced at each change
}

func newGate(roles map[Role]string) *gate {
	g := &gate{
		roles:   map[string]Role{},
		known:   make(chan struct{}),
		users:   map[string]User{},
		keys:    map[string]string{},
		leaving: map[string]bool{},
		changed: make(chan struct{}),
	}
	for role, public := range roles {
		g.roles[public] = role
	}
	return g
}

// open connects the gate with its server, which has not started yet.
func (g *gate) open(srv *server.Server) error {
	g.srv = srv
	if err := openBorder(srv.GlobalAccount()); err != nil {
		return fmt.Errorf("opening the border between accounts: %w", err)
	}
	return nil
}

// Check lets a client in that has signed the server's nonce with a known key.
func (g *gate) Check(client server.ClientAuthentication) bool {
	key := client.GetOpts().Nkey
	if client.Kind() != server.CLIENT || !hasSigned(client) {
		return false
	}
	if role, ok := g.roles[key]; ok {
		client.RegisterUser(&server.User{Username: string(role), Permissions: role.Permissions().server()})
		return true
	}
	g.awaitKnown()
	g.mu.RLock()
	defer g.mu.RUnlock()
	name, ok := g.keys[key]
	if !ok {
		return false
	}
	account, err := g.srv.LookupAccount(accountOf(name))
	if err != nil {
		return false
	}
	allowed := permissions(g.users[name].crossings()).server()
	client.RegisterUser(&server.User{Username: name, Account: account, Permissions: allowed})
	return true
}

// awaitKnown holds applications back that are faster than a starting server
// has read who they are: clients give up over a refusal. It has less patience
// than the server.
func (g *gate) awaitKnown() {
	const patience = time.Second
	select {
	case <-g.known:
	case <-time.After(patience):
	}
}

func hasSigned(client server.ClientAuthentication) bool {
	opts := client.GetOpts()
	signature, err := base64.RawURLEncoding.DecodeString(opts.Sig)
	if err != nil {
		if signature, err = base64.StdEncoding.DecodeString(opts.Sig); err != nil {
			return false
		}
	}
	public, err := nkeys.FromPublicKey(opts.Nkey)
	return err == nil && public.Verify(client.GetNonce(), signature) == nil
}

// settle says that the applications of the store are known.
func (g *gate) settle() { g.knownOnce.Do(func() { close(g.known) }) }

// admit makes u the user of its name, in place of what he was, and cuts the
// connections whose keys he has no more.
func (g *gate) admit(u User) error {
	// The account stays when the user goes, until the server stops: nobody has
	// a key to it then.
	account, isNew := g.srv.LookupOrRegisterAccount(accountOf(u.name()))
	if isNew {
		if err := cross(g.srv.GlobalAccount(), account, u.crossings()); err != nil {
			return fmt.Errorf("opening the border of %s: %w", u.name(), err)
		}
	}
	g.change(u.name(), &u)
	return nil
}

// dismiss forgets a user and cuts his connections.
func (g *gate) dismiss(name string) { g.change(name, nil) }

func (g *gate) change(name string, now *User) {
	gone := g.swap(name, now)
	for _, key := range gone {
		g.cut(key)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range gone {
		delete(g.leaving, key)
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// swap puts a user in place and returns the keys that are gone.
func (g *gate) swap(name string, now *User) (gone []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.users[name].Keys
	for _, key := range before {
		delete(g.keys, key.Public)
	}
	delete(g.users, name)
	if now != nil {
		g.users[name] = *now
		for _, key := range now.Keys {
			g.keys[key.Public] = name
		}
	}
	for _, key := range before {
		if _, still := g.keys[key.Public]; !still {
			gone = append(gone, key.Public)
			g.leaving[key.Public] = true
		}
	}
	return gone
}

// cut ends the connections of a key that is not known any more.
func (g *gate) cut(key string) {
	conns, err := g.srv.Connz(&server.ConnzOptions{Username: true, User: key, Limit: math.MaxInt32})
	if err != nil {
		return // never: the options are legal
	}
	for _, conn := range conns.Conns {
		_ = g.srv.DisconnectClientByID(conn.Cid) // fails where it has gone by itself
	}
}

// names are those of the users that are known.
func (g *gate) names() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.Collect(maps.Keys(g.users))
}

// await waits until the gate has each of some keys, or has none of them and no
// connection with one.
func (g *gate) await(ctx context.Context, known bool, keys ...string) error {
	for {
		done, changed := g.look(known, keys)
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server to take notice: %w", ctx.Err())
		}
	}
}

func (g *gate) look(known bool, keys []string) (done bool, changed <-chan struct{}) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	differs := func(key string) bool {
		_, ok := g.keys[key]
		return (ok || g.leaving[key]) != known
	}
	return !slices.ContainsFunc(keys, differs), g.changed
}
