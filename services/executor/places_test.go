package executor

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// hall is places in a bubble, and who came in, in order.
type hall struct {
	*places
	in chan string
}

func newHall(most, each int) *hall {
	return &hall{newPlaces(most, each, time.Now), make(chan string, 1000)}
}

// come has n requests of a user wait for a place.
func (h *hall) come(ctx context.Context, user string, n int, express bool) {
	for i := range n {
		go func() {
			if h.enter(ctx, user, express) {
				h.in <- user
			}
		}()
		synctest.Wait()
		_ = i
	}
}

// next is who came in since the last look.
func (h *hall) next() (all []string) {
	synctest.Wait()
	for len(h.in) > 0 {
		all = append(all, <-h.in)
	}
	return all
}

func wantIn(t *testing.T, h *hall, want ...string) {
	t.Helper()
	if got := h.next(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("in came %v, want %v", got, want)
	}
}

func TestPlaces(t *testing.T) {
	tests := []struct {
		name string
		tell func(*testing.T, context.Context, *hall)
	}{
		{"one who is alone leaves a quarter", func(t *testing.T, ctx context.Context, h *hall) {
			h.come(ctx, "a", 5, false)
			wantIn(t, h, "a", "a", "a")
			h.come(ctx, "b", 2, false)
			wantIn(t, h, "b")
		}},
		{"the next place is of who has less", func(t *testing.T, ctx context.Context, h *hall) {
			h.come(ctx, "a", 9, false)
			h.come(ctx, "b", 2, false)
			wantIn(t, h, "a", "a", "a", "b")
			h.leave("a")
			wantIn(t, h) // the last place is for one with nothing in hand
			h.leave("a")
			wantIn(t, h, "a") // both have one, and this one has waited longer
			h.leave("b")
			wantIn(t, h, "b")
		}},
		{"express before bulk", func(t *testing.T, ctx context.Context, h *hall) {
			h.come(ctx, "a", 4, false)
			h.come(ctx, "b", 1, false)
			h.come(ctx, "c", 1, false)
			h.come(ctx, "d", 1, true)
			h.next()
			h.leave("a")
			wantIn(t, h, "d")
			h.leave("a")
			wantIn(t, h, "c")
		}},
		{"express of the same user too", func(t *testing.T, ctx context.Context, h *hall) {
			h.come(ctx, "a", 6, false)
			h.come(ctx, "a", 1, true)
			h.next()
			h.leave("a")
			synctest.Wait()
			if l := h.lines["a"]; len(l.express) != 0 || len(l.bulk) != 3 {
				t.Errorf("%d express, %d bulk wait", len(l.express), len(l.bulk))
			}
		}},
		{"alone again after a while", func(t *testing.T, ctx context.Context, h *hall) {
			h.come(ctx, "b", 1, false)
			h.come(ctx, "a", 4, false)
			wantIn(t, h, "b", "a", "a")
			h.leave("b")
			wantIn(t, h)
			time.Sleep(2 * lonely)
			h.come(ctx, "a", 1, false)
			wantIn(t, h, "a")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				tt.tell(t, ctx, newHall(4, 2))
				cancel()
				synctest.Wait()
			})
		})
	}
}

// However who comes, goes and gives up: there are never more than there are
// places, none is lost, and who is told that it is crowded has many waiting.
func TestPlacesAreKept(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHall(rapid.IntRange(1, 20).Draw(r, "most"), rapid.IntRange(1, 8).Draw(r, "each"))
			ctx, cancel := context.WithCancel(t.Context())
			var in []string
			for range rapid.IntRange(1, 60).Draw(r, "steps") {
				switch user := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "user"); {
				case len(in) > 0 && rapid.Bool().Draw(r, "leaves"):
					h.leave(in[0])
					in = in[1:]
				case rapid.Bool().Draw(r, "gives up"):
					soon, end := context.WithCancel(ctx)
					h.come(soon, user, 1, true)
					end()
				default:
					h.come(ctx, user, 1, rapid.Bool().Draw(r, "express"))
				}
				in = append(in, h.next()...)
				if h.used != len(in) || h.used > h.most {
					r.Fatalf("%d places taken by %d, of %d", h.used, len(in), h.most)
				}
			}
			cancel()
			for in = append(in, h.next()...); len(in) > 0; in = append(in[1:], h.next()...) {
				h.leave(in[0])
			}
			if h.used != 0 || len(h.lines) != 0 {
				r.Fatalf("%d places and %d lines are left", h.used, len(h.lines))
			}
		})
	})
}
