package answers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/plugfn/plugfn/services/executor/answers"
)

func newRedis(t *testing.T, server *miniredis.Miniredis) *answers.Redis {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return answers.NewRedis(client)
}

func TestRedis(t *testing.T) {
	server := miniredis.RunT(t)
	conform(t, newRedis(t, server), server.FastForward)
}

// What one process writes, another one sees.
func TestRedisIsShared(t *testing.T) {
	server := miniredis.RunT(t)
	here, there := newRedis(t, server), newRedis(t, server)
	_, before := get(t, there, "k", "m")
	put(t, here, "k", "v", time.Hour)
	if v, stamps := get(t, there, "k", "m"); v != "v" || stamps[0] != before[0] {
		t.Errorf("there is %q with the stamp %q, was %q", v, stamps[0], before[0])
	}
	if err := here.Stamp(t.Context(), []string{"m"}); err != nil {
		t.Fatal(err)
	}
	if _, stamps := get(t, there, "k", "m"); stamps[0] == before[0] {
		t.Error("the stamp of one is not seen by the other")
	}
}

// A Redis that forgets makes what was asked for before old.
func TestRedisForgets(t *testing.T) {
	server := miniredis.RunT(t)
	s := newRedis(t, server)
	_, asked := get(t, s, "k", "m") // somebody asks the provider
	if err := s.Stamp(t.Context(), []string{"m"}); err != nil {
		t.Fatal(err)
	}
	server.FlushAll()
	put(t, s, "k", "of before the write", time.Hour)
	if _, stamps := get(t, s, "k", "m"); stamps[0] == asked[0] {
		t.Error("what was asked for before the write counts as new")
	}
	server.FastForward(26 * time.Hour)
	if keys := server.Keys(); len(keys) > 0 {
		t.Errorf("left after a day: %q", keys)
	}
}

func TestRedisBoundsValues(t *testing.T) {
	server := miniredis.RunT(t)
	s := newRedis(t, server)
	put(t, s, "k", "v", time.Hour)
	put(t, s, "k", strings.Repeat("x", answers.MaxShared+1), time.Hour)
	if v, _ := get(t, s, "k"); v != "" {
		t.Errorf("%d bytes are kept", len(v))
	}
	put(t, s, "l", strings.Repeat("x", answers.MaxShared), 1000*time.Hour)
	if ttl := server.TTL("plugfn:answer:l"); ttl != answers.MaxTTL {
		t.Errorf("it is kept for %s", ttl)
	}
}

// While Redis is lost nothing is known, and what was written meanwhile is not
// forgotten.
func TestRedisLost(t *testing.T) {
	server := miniredis.RunT(t)
	s := newRedis(t, server)
	_, before := get(t, s, "k", "m", "n")
	put(t, s, "k", "v", time.Hour)
	server.SetError("LOADING")
	if err := s.Stamp(t.Context(), []string{"m"}); err == nil {
		t.Error("a stamp that is not there")
	}
	for range 5 {
		if v, stamps, err := s.Get(t.Context(), "k", []string{"m"}); err == nil || v != nil || stamps != nil {
			t.Errorf("%q, %q, %v", v, stamps, err)
		}
		if err := s.Put(t.Context(), "k", []byte("w"), time.Hour); err == nil {
			t.Error("a value that is not there")
		}
	}
	server.SetError("")
	end := time.Now().Add(20 * time.Second)
	for {
		_, after, err := s.Get(t.Context(), "k", []string{"m", "n"})
		if err == nil {
			if after[0] == before[0] || after[1] != before[1] {
				t.Errorf("stamps are %q after %q", after, before)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
