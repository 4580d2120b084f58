package answers_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/services/executor/answers"
)

func get(t *testing.T, s answers.Store, key string, marks ...string) (string, []string) {
	t.Helper()
	value, stamps, err := s.Get(t.Context(), key, marks)
	if err != nil {
		t.Fatal(err)
	}
	return string(value), stamps
}

func put(t *testing.T, s answers.Store, key, value string, ttl time.Duration) {
	t.Helper()
	if err := s.Put(t.Context(), key, []byte(value), ttl); err != nil {
		t.Fatal(err)
	}
}

// conform is what every store does; pass lets time go by, nil: it cannot.
func conform(t *testing.T, s answers.Store, pass func(time.Duration)) {
	t.Helper()
	v, none := get(t, s, "a", "m", "n")
	if _, again := get(t, s, "a", "m", "n"); v != "" || len(none) != 2 || !slices.Equal(none, again) {
		t.Errorf("an empty store has %q, %q, then %q", v, none, again)
	}
	put(t, s, "a", "1", time.Minute)
	put(t, s, "b", "2", time.Hour)
	put(t, s, "a", "3", time.Minute)
	if v, _ := get(t, s, "a"); v != "3" {
		t.Errorf("a is %q", v)
	}
	if err := s.Stamp(t.Context(), []string{"m"}); err != nil {
		t.Fatal(err)
	}
	_, first := get(t, s, "a", "m", "n")
	if first[0] == none[0] || first[1] != none[1] {
		t.Errorf("stamps are %q after %q", first, none)
	}
	if err := s.Stamp(t.Context(), []string{"n", "m"}); err != nil {
		t.Fatal(err)
	}
	if _, second := get(t, s, "a", "m", "n"); second[0] == first[0] || second[1] == first[1] {
		t.Errorf("stamps are %q after %q", second, first)
	}
	if pass != nil {
		pass(2 * time.Minute)
		if v, _ := get(t, s, "a"); v != "" {
			t.Errorf("a is still %q", v)
		}
	}
	if v, _ := get(t, s, "b"); v != "2" {
		t.Errorf("b is %q", v)
	}
	put(t, s, "b", "4", 0)
	if v, _ := get(t, s, "b"); v == "4" {
		t.Error("what is kept for no time is kept")
	}
}

func TestMemory(t *testing.T) {
	at := time.Now()
	s := answers.NewMemory(1<<20, func() time.Time { return at })
	conform(t, s, func(d time.Duration) { at = at.Add(d) })
}

func TestMemoryGivesUpWhatWasNotUsed(t *testing.T) {
	s := answers.NewMemory(100<<10, nil)
	value := string(make([]byte, 10<<10))
	for i := range 9 {
		put(t, s, fmt.Sprint(i), value, time.Hour)
	}
	get(t, s, "0")
	put(t, s, "9", value, time.Hour)
	put(t, s, "large", string(make([]byte, 13<<10)), time.Hour)
	for key, there := range map[string]bool{"0": true, "1": false, "9": true, "large": false} {
		if v, _ := get(t, s, key); (v != "") != there {
			t.Errorf("%s is there is %t", key, v != "")
		}
	}
}

// However it is used, it stays within its bytes, and a value is never used with
// a stamp that is older than the last one of its mark.
func TestMemoryIsBoundedAndHonest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const room = 4 << 10
		s := answers.NewMemory(room, nil)
		model := map[string]int{} // :: mark → how often it was stamped
		was := map[string]string{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.StringN(0, 3, 8).Draw(t, "key")
			if rapid.Bool().Draw(t, "stamp") {
				_ = s.Stamp(context.Background(), []string{key})
				model[key]++
			} else {
				_ = s.Put(context.Background(), key, make([]byte, rapid.IntRange(0, room).Draw(t, "size")), time.Hour)
			}
			_, stamps, _ := s.Get(context.Background(), key, []string{key})
			id := fmt.Sprintf("%q %d", key, model[key])
			if before, ok := was[id]; ok && before != stamps[0] {
				t.Fatalf("the stamp of %q changed by itself", key)
			}
			was[id] = stamps[0]
			if model[key] > 0 && was[fmt.Sprintf("%q %d", key, model[key]-1)] == stamps[0] {
				t.Fatalf("the stamp of %q is the one of before", key)
			}
		}
	})
}

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f answers.Flights
		var went, looked, alone atomic.Int32
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				finish, kept := f.Join(t.Context(), "k")
				switch {
				case finish != nil:
					went.Add(1)
					time.Sleep(time.Second)
					finish(true)
				case kept:
					looked.Add(1)
				default:
					alone.Add(1)
				}
			})
		}
		wait.Wait()
		if went.Load() != 1 || looked.Load() != 49 {
			t.Errorf("%d went, %d look again, %d go alone", went.Load(), looked.Load(), alone.Load())
		}
		finish, _ := f.Join(t.Context(), "k")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if other, kept := f.Join(ctx, "k"); other != nil || kept {
			t.Error("who does not want to wait any more goes alone")
		}
		finish(false)
		finish(false) // a second time does no harm
		if again, _ := f.Join(t.Context(), "k"); again == nil {
			t.Error("nobody is away")
		} else {
			again(false)
		}
	})
}
