package polls

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// maxKnown is how many items are known; beyond it the ones that were seen longest
// ago are forgotten. A list that is always read whole may not be longer.
const maxKnown = 10_000

// Look is what looking has come to so far.
type Look struct {
	At     time.Time `json:"at" doc:"The last look."`
	Error  string    `json:"error,omitempty" doc:"Why it found out nothing."`
	Items  int       `json:"items" doc:"How many items it saw."`
	Events uint64    `json:"events" doc:"Events of all looks."`
	Since  time.Time `json:"since,omitzero" doc:"The time of the newest item that is known."`
	// Gap says that the list was longer than what is read at once.
	Gap bool `json:"gap,omitempty" doc:"The list was longer than what is read at once: something may be missing."`
}

// record is the value of a key in the bucket.
type record struct {
	Look
	Tick  string `json:"tick"`            // the last one that was looked at
	Begun bool   `json:"begun,omitempty"` // a look has found out what was there
	Known known  `json:"known"`
}

// known is what was seen: eight bytes of the hash of each item, the one that was
// seen last at the end.
type known []byte

const markSize = 8

type mark uint64

// markOf is the same for the same version of an item.
func markOf(i *providers.PollItem) mark {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n%s", len(i.ID), i.ID, i.Version)
	return mark(binary.BigEndian.Uint64(h.Sum(nil)))
}

func (k known) set() map[mark]bool {
	all := make(map[mark]bool, len(k)/markSize)
	for ; len(k) >= markSize; k = k[markSize:] {
		all[mark(binary.BigEndian.Uint64(k))] = true
	}
	return all
}

// with is k with marks at the end, each once, and no more than maxKnown.
func (k known) with(marks []mark) known {
	again := make(map[mark]bool, len(marks))
	for _, m := range marks {
		again[m] = true
	}
	kept := make(known, 0, len(k)+len(marks)*markSize)
	for ; len(k) >= markSize; k = k[markSize:] {
		if !again[mark(binary.BigEndian.Uint64(k))] {
			kept = append(kept, k[:markSize]...)
		}
	}
	for _, m := range marks {
		if again[m] {
			kept = binary.BigEndian.AppendUint64(kept, uint64(m))
			again[m] = false
		}
	}
	return kept[max(0, len(kept)-maxKnown*markSize):]
}

var errTaken = errors.New("somebody else has looked meanwhile")

// store keeps the records.
type store struct{ kv jetstream.KeyValue }

func openStore(ctx context.Context, js jetstream.JetStream) (store, error) {
	kv, err := js.KeyValue(ctx, bus.BucketPolls)
	if err != nil {
		return store{}, fmt.Errorf("opening bucket %s: %w", bus.BucketPolls, err)
	}
	return store{kv}, nil
}

// read returns the record of a schedule and its revision; an empty one and 0
// where there is none.
func (s store) read(ctx context.Context, user, schedule string) (r record, revision uint64, err error) {
	entry, err := s.kv.Get(ctx, events.Key(user, schedule))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return r, 0, nil
	}
	if err == nil {
		revision, err = entry.Revision(), json.Unmarshal(entry.Value(), &r)
	}
	if err != nil {
		return r, 0, fmt.Errorf("reading what is known: %w", err)
	}
	return r, revision, nil
}

// write stores r unless somebody else has since revision, which is errTaken.
func (s store) write(ctx context.Context, user, schedule string, r *record, revision uint64) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding what is known: %w", err)
	}
	_, err = s.kv.Update(ctx, events.Key(user, schedule), value, revision)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("storing what is known: %w", err)
	}
	return nil
}

// LookOf is what looking for a schedule has come to; false where nobody has looked
// within a month.
func LookOf(ctx context.Context, js jetstream.JetStream, user, schedule string) (Look, bool, error) {
	s, err := openStore(ctx, js)
	if err != nil {
		return Look{}, false, err
	}
	r, revision, err := s.read(ctx, user, schedule)
	return r.Look, revision > 0, err
}
