package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestListInPages(t *testing.T) {
	r := newRig(t)
	var mine, all []string
	for i := range 7 {
		provider := []string{"github", "slack"}[i%2]
		mine = append(mine, provider+" "+r.connect(t, "u1", provider, "t").ID)
		r.connect(t, "u2", provider, "t")
	}
	slices.Sort(mine)
	tests := []struct {
		name string
		query
		want int
	}{
		{"all", query{}, 14},
		{"of a user", query{user: "u1"}, 7},
		{"of a provider", query{provider: "github"}, 8},
		{"of both", query{user: "u1", provider: "github"}, 4},
		{"of nobody", query{user: "u3"}, 0},
		{"of a wildcard", query{user: "*"}, 0},
		{"of all wildcards", query{user: ">"}, 0},
	}
	for _, tt := range tests {
		for _, limit := range []int{1, 2, 3, 200} {
			t.Run(fmt.Sprintf("%s by %d", tt.name, limit), func(t *testing.T) {
				all = nil
				q := tt.query
				q.limit = limit
				for {
					items, next, err := r.store.list(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					if len(items) > limit || next != "" && len(items) < limit {
						t.Fatalf("page of %d, next %q", len(items), next)
					}
					for _, c := range items {
						all = append(all, c.UserID+" "+c.Provider+" "+c.ID)
					}
					if next == "" {
						break
					}
					q.cursor = next
				}
				if len(all) != tt.want || !slices.IsSorted(all) || len(slices.Compact(all)) != tt.want {
					t.Errorf("got %v, want %d in order", all, tt.want)
				}
			})
		}
	}
	items, _, err := r.store.list(t.Context(), query{user: "u1"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range items {
		got = append(got, c.Provider+" "+c.ID)
	}
	if diff := cmp.Diff(mine, got); diff != "" {
		t.Error(diff)
	}
}

func TestListRefuses(t *testing.T) {
	r := newRig(t)
	for name, q := range map[string]query{
		"limit":  {limit: maxPage + 1},
		"limit ": {limit: -1},
		"cursor": {cursor: "%"},
		// well-formed base64, of no key
		"cursor ":  {cursor: "Zm9v"},
		"cursor  ": {cursor: strings.Repeat("A", maxCursor+4)},
	} {
		_, _, err := r.store.list(t.Context(), q)
		e := wantCode(t, err, events.CodeInvalidParams)
		if !strings.HasPrefix(e.Message, strings.TrimSpace(name)+": ") {
			t.Errorf("message %q does not name %s", e.Message, name)
		}
	}
}

func TestPageIsTheSmallestKeys(t *testing.T) {
	key := rapid.StringOfN(rapid.SampledFrom([]rune("abc")), 1, 3, -1)
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(key).Draw(t, "keys")
		p := page{after: rapid.OneOf(rapid.Just(""), key).Draw(t, "after"), limit: rapid.IntRange(1, 5).Draw(t, "limit")}
		for _, k := range keys {
			p.add(k)
		}
		want := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(keys))), func(k string) bool { return k <= p.after })
		more := len(want) > p.limit
		want = want[:min(len(want), p.limit)]
		got, next := p.cut()
		if !slices.Equal(got, want) || (next != "") != more {
			t.Fatalf("got %q and %q, want %q, more %v", got, next, want, more)
		}
	})
}

func TestScanEndsEarlyAndWithItsContext(t *testing.T) {
	r := newRig(t)
	value, err := (&record{}).encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 { // more than a watcher holds
		if _, err := r.connections.Put(t.Context(), fmt.Sprintf("u.p.%d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err = scan(t.Context(), r.connections, allKeys, func(jetstream.KeyValueEntry) bool { seen++; return seen < 3 })
	if err != nil || seen != 3 {
		t.Errorf("ended early: %d, %v", seen, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen = 0
	err = scan(ctx, r.connections, allKeys, func(jetstream.KeyValueEntry) bool { seen++; cancel(); return true })
	// Which of the two it notices first is open, but it may not take part for all.
	if err == nil && seen != 600 || err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("with its context: %d, %v", seen, err)
	}
}
