package executor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/executor/answers"
)

const (
	// cacheBytes is how much of the answers to reads is kept in memory.
	cacheBytes = 64 << 20
	// revalidated is how long an answer is kept that the provider can be asked
	// about, whatever age the caller takes.
	revalidated = time.Hour
	// stampTimeout bounds how long a write waits to make answers old.
	stampTimeout = time.Second
)

// kept is an answer as it is kept.
type kept struct {
	Asked  time.Time       `json:"asked"` // when the provider was asked for it, or whether it still holds
	Stamps []string        `json:"stamps,omitempty"`
	ETag   string          `json:"etag,omitempty"`
	Status int             `json:"status"`
	Data   json.RawMessage `json:"data"`
	Pages  int             `json:"pages,omitempty"`
	More   bool            `json:"more,omitempty"`
	Next   json.RawMessage `json:"next,omitempty"`
}

func (k *kept) reading() reading {
	return reading{status: k.Status, data: k.Data, pages: k.Pages, more: k.More, next: k.Next, cached: true, etag: k.ETag}
}

// question is what an answer is kept for.
type question struct {
	key   string
	marks []string
	asked time.Time
	age   time.Duration // that an answer may have
}

// read carries out a read: with an answer that was kept and still counts, or by
// asking, where one of several that want the same does so for all.
func (a *attempt) read(ctx context.Context) (reading, error) {
	q, ok := a.question()
	if !ok {
		return a.ask(ctx, "")
	}
	const looks = 3
	for range looks {
		old, stamps, err := a.lookUp(ctx, q)
		if err != nil {
			a.Log.Debug().Err(err).Str("request", a.task.ID).Msg("kept answers cannot be looked at")
			break
		}
		if old != nil && q.isGood(old, stamps, a.Now()) {
			a.meter.read(a.task.Provider, true)
			return old.reading(), nil
		}
		finish, again := a.flights.Join(ctx, q.key)
		if finish == nil && again {
			continue
		}
		return a.askAndKeep(ctx, q, old, stamps, finish)
	}
	a.meter.read(a.task.Provider, false)
	return a.ask(ctx, "")
}

// question returns what the request asks, false where its answer is not kept:
// nobody takes an old one, and the provider cannot be asked about it.
func (a *attempt) question() (question, bool) {
	action, age := a.plan.action, a.task.Cache
	if age == 0 {
		age = action.Cache
	}
	if !action.IsCacheable() || age < 0 || age == 0 && !a.plan.pack.HTTP.ETags || a.task.StreamPages {
		return question{}, false
	}
	whose := fmt.Sprintf("%q %q", a.task.UserID, a.credential.ConnectionID)
	return question{
		key: digest(whose, a.credential.Auth, fmt.Sprint(a.credential.Version), a.plan.pack.Name, a.plan.pack.Version, a.Providers.BaseURL(a.task.Provider),
			action.Name, fmt.Sprint(max(a.task.MaxPages, 1)), canonical(a.task.Params)),
		marks: a.marks(action.MarksRead(a.task.Params)),
		asked: a.Now(),
		age:   min(age, providers.MaxCache),
	}, true
}

// marks are names of the pack, of this connection alone.
func (a *attempt) marks(names []string) []string {
	marks := make([]string, len(names))
	for i, name := range names {
		marks[i] = digest(a.task.UserID, a.credential.ConnectionID, a.plan.pack.Name, name)
	}
	return marks
}

// isGood reports whether an answer counts: no write went by since, and it is
// young enough, or younger than the question.
func (q *question) isGood(k *kept, stamps []string, now time.Time) bool {
	return slices.Equal(k.Stamps, stamps) && (now.Sub(k.Asked) <= q.age && q.age > 0 || !k.Asked.Before(q.asked))
}

func (a *attempt) lookUp(ctx context.Context, q question) (*kept, []string, error) {
	store, sealed := a.store()
	value, stamps, err := store.Get(ctx, q.key, q.marks)
	if err != nil || value == nil {
		return nil, stamps, err
	}
	if sealed != nil {
		if value, err = sealed.open(q.key, value); err != nil {
			return nil, stamps, nil //nolint:nilerr // as good as none
		}
	}
	k := &kept{}
	if err := json.Unmarshal(value, k); err != nil {
		return nil, stamps, nil //nolint:nilerr // as good as none
	}
	return k, stamps, nil
}

// askAndKeep asks the provider, for others too if finish is not nil. Failures
// are not kept.
func (a *attempt) askAndKeep(ctx context.Context, q question, old *kept, stamps []string, finish func(bool)) (reading, error) {
	done := false
	if finish != nil {
		defer func() { finish(done) }()
	}
	etag := ""
	if old != nil {
		etag = old.ETag
	}
	asked := a.Now()
	a.meter.read(a.task.Provider, false)
	r, err := a.ask(ctx, etag)
	if err != nil {
		return r, err
	}
	if r.unchanged {
		r = old.reading()
	}
	ttl := q.age
	if r.etag != "" {
		ttl = max(ttl, revalidated)
	}
	if ttl <= 0 || len(r.data) > maxInline {
		return r, nil
	}
	err = a.put(ctx, q.key, &kept{
		Asked: asked, Stamps: stamps, ETag: r.etag, Status: r.status, Data: r.data, Pages: r.pages, More: r.more, Next: r.next,
	}, ttl)
	if err != nil {
		a.Log.Debug().Err(err).Str("request", a.task.ID).Msg("answer not kept")
	}
	done = err == nil
	return r, nil
}

func (a *attempt) put(ctx context.Context, key string, k *kept, ttl time.Duration) error {
	var value bytes.Buffer
	encoder := json.NewEncoder(&value)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(k); err != nil {
		return err
	}
	store, sealed := a.store()
	if sealed != nil {
		return store.Put(ctx, key, sealed.close(key, value.Bytes()), ttl)
	}
	return store.Put(ctx, key, value.Bytes(), ttl)
}

// store is where answers to the request are kept, and how they are sealed there;
// nil: they are not. What cannot be sealed does not leave this process.
func (a *attempt) store() (answers.Store, *seal) {
	if a.shared != nil {
		if s, ok := sealOf(a.credential); ok {
			return a.shared, &s
		}
	}
	return a.answers, nil
}

// outdate makes old what a write has changed, or may have.
func (a *attempt) outdate(ctx context.Context) {
	names := a.plan.action.MarksWritten(a.task.Params)
	if len(names) == 0 || !a.sent.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stampTimeout)
	defer cancel()
	store, _ := a.store()
	if err := store.Stamp(ctx, a.marks(names)); err != nil {
		a.Log.Warn().Err(err).Str("request", a.task.ID).Msg("kept answers may be older than the write")
	}
}

// canonical writes parameters that mean the same in the same way.
func canonical(params json.RawMessage) string {
	decoder := json.NewDecoder(bytes.NewReader(params))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return string(params)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return string(params)
	}
	return string(text)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
