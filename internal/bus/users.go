package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// ErrNoUser is what RemoveUser returns for a user or a key that is not there.
var ErrNoUser = errors.New("there is no such user or key")

const (
	maxUser = 256 // bytes
	maxKeys = 8   // of one user: more than it takes to replace one that is in use
)

// User is who applications connect for.
type User struct {
	ID   string `json:"id"` // as the application calls him, or events.Everyone
	Keys []Key  `json:"keys"`
}

// Key is the public half of a credential.
type Key struct {
	Public    string    `json:"public"`
	CreatedAt time.Time `json:"created_at"`
}

// AddUser makes a credential with which an application can act and listen for
// one user, or for [events.Everyone], and do nothing else: publish action requests and
// calls, subscribe to events, results, connections and runs, and pull events
// and results from two durable consumers that keep its place from now on.
//
// A user may have several credentials, which share the consumers. To replace
// one, add the new one, put it to use, and remove the old one.
//
// On the embedded server, opened with Config.Secure, the credential counts once
// AddUser has returned, or a moment later where another process has the server.
// On a server outside it counts once the server's configuration has it, see
// [ServerConfig].
func (b *Bus) AddUser(ctx context.Context, user string) (Credential, error) {
	c, err := b.addUser(ctx, User{ID: user})
	if err != nil {
		return Credential{}, fmt.Errorf("adding user %q: %w", user, err)
	}
	return c, nil
}

func (b *Bus) addUser(ctx context.Context, u User) (Credential, error) {
	store, err := b.userStore(ctx, u)
	if err != nil {
		return Credential{}, err
	}
	public, seed, err := newKey()
	if err != nil {
		return Credential{}, err
	}
	if err := b.keepPlaces(ctx, u); err != nil {
		return Credential{}, err
	}
	err = store.change(ctx, u, func(u *User) error {
		if len(u.Keys) >= maxKeys {
			return fmt.Errorf("there are %d keys: remove one that is not used any more", len(u.Keys))
		}
		u.Keys = append(u.Keys, Key{Public: public, CreatedAt: time.Now().UTC()})
		return nil
	})
	if err != nil {
		return Credential{}, err
	}
	b.cfg.Log.Info().Str("user", u.ID).Str("key", public).Msg("user added")
	return Credential{User: u.ID, Key: public, seed: seed}, b.gateKnows(ctx, true, public)
}

// RemoveUser takes the named keys away from a user. With none named it takes
// all of them, and removes his consumers with the place that they keep.
//
// On the embedded server, what is connected with these keys is disconnected
// before RemoveUser returns. On a server outside they count until its
// configuration has them no more.
func (b *Bus) RemoveUser(ctx context.Context, user string, keys ...string) error {
	if err := b.removeUser(ctx, User{ID: user}, keys); err != nil {
		return fmt.Errorf("removing user %q: %w", user, err)
	}
	return nil
}

func (b *Bus) removeUser(ctx context.Context, u User, keys []string) error {
	store, err := b.userStore(ctx, u)
	if err != nil {
		return err
	}
	whole := len(keys) == 0
	if whole {
		keys, err = store.remove(ctx, u)
	} else {
		err = store.change(ctx, u, func(u *User) error { return u.drop(keys) })
	}
	if err != nil {
		return err
	}
	b.cfg.Log.Info().Str("user", u.ID).Strs("keys", keys).Msg("user removed")
	if err := b.gateKnows(ctx, false, keys...); err != nil || !whole {
		return err
	}
	return b.dropPlaces(ctx, u)
}

// Users lists who has credentials, ordered by id.
func (b *Bus) Users(ctx context.Context) ([]User, error) {
	kv, err := b.js.KeyValue(ctx, BucketUsers)
	if err != nil {
		return nil, fmt.Errorf("listing users: %w", err)
	}
	users, err := listUsers(ctx, kv)
	if err != nil {
		return nil, fmt.Errorf("listing users: %w", err)
	}
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	return users, nil
}

// userStore opens the store of users for a change of u.
func (b *Bus) userStore(ctx context.Context, u User) (userStore, error) {
	if err := u.check(); err != nil {
		return userStore{}, err
	}
	if b.cfg.Role != RoleAdmin {
		return userStore{}, fmt.Errorf("role %s may not do that: connect as %s", b.cfg.Role, RoleAdmin)
	}
	if b.Embedded() && !b.cfg.Secure {
		return userStore{}, errors.New("the embedded server is open, whoever reaches it may do anything: open it with Secure first")
	}
	kv, err := b.js.KeyValue(ctx, BucketUsers)
	return userStore{kv}, err
}

// gateKnows waits until the embedded server has, or has not, each of the keys.
func (b *Bus) gateKnows(ctx context.Context, known bool, keys ...string) error {
	if !b.Embedded() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return b.server.gate.await(ctx, known, keys...)
}

// places are the consumers of a user's applications. Names in permissions have
// no wildcards within them, and a consumer that anybody may name as he likes
// could be that of somebody else: so they are made here.
func (u User) places() map[string]jetstream.ConsumerConfig {
	place := func(prefixes ...string) jetstream.ConsumerConfig {
		cfg := jetstream.ConsumerConfig{
			Durable:       u.name(),
			Description:   "applications of PlugFn's users",
			DeliverPolicy: jetstream.DeliverNewPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			MaxDeliver:    -1,
		}
		for _, prefix := range prefixes {
			cfg.FilterSubjects = append(cfg.FilterSubjects, prefix+u.scope())
		}
		return cfg
	}
	return map[string]jetstream.ConsumerConfig{ // :: stream → consumer
		events.StreamEvents:  place(events.PrefixEvent, events.PrefixConnection),
		events.StreamResults: place(events.PrefixResult),
	}
}

// keepPlaces makes the consumers that are missing. One that is there keeps its
// place, and what an operator has set on it.
func (b *Bus) keepPlaces(ctx context.Context, u User) error {
	for stream, cfg := range u.places() {
		_, err := b.js.Consumer(ctx, stream, cfg.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			_, err = b.js.CreateOrUpdateConsumer(ctx, stream, cfg)
		}
		if err != nil {
			return fmt.Errorf("making consumer %s of %s: %w", cfg.Durable, stream, err)
		}
	}
	return nil
}

func (b *Bus) dropPlaces(ctx context.Context, u User) error {
	for stream, cfg := range u.places() {
		err := b.js.DeleteConsumer(ctx, stream, cfg.Durable)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("removing consumer %s of %s: %w", cfg.Durable, stream, err)
		}
	}
	return nil
}

func (u User) check() error {
	switch {
	case u.ID == "":
		return errors.New("the user id is empty")
	case u.ID == events.NoUser:
		return errors.New("it stands for no user in subjects")
	case len(u.ID) > maxUser:
		return fmt.Errorf("the user id is longer than %d bytes", maxUser)
	case !utf8.ValidString(u.ID) || strings.ContainsFunc(u.ID, unicode.IsControl):
		return errors.New("the user id must be valid UTF-8 without control characters")
	}
	return nil
}

// drop removes keys. All of them must be there.
func (u *User) drop(keys []string) error {
	for _, key := range keys {
		i := slices.IndexFunc(u.Keys, func(k Key) bool { return k.Public == key })
		if i < 0 {
			return ErrNoUser
		}
		u.Keys = slices.Delete(u.Keys, i, i+1)
	}
	return nil
}

// name is that of the user's applications: of their record, their consumers,
// and part of the names of their account and their inboxes.
func (u User) name() string { return events.ApplicationName(u.ID) }

// scope is what follows the prefixes in the user's subjects.
func (u User) scope() string {
	if u.ID == events.Everyone {
		return ">"
	}
	return events.Token(u.ID) + ".>"
}

func (u User) crossings() []crossing {
	return crossings(u.scope(), u.name(), events.ApplicationInbox(u.ID))
}

// accountOf is the account of the applications of that name.
func accountOf(name string) string { return "PLUGFN-" + name }
