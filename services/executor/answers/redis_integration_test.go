//go:build integration && unix

package answers_test

import (
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/internal/limiter/redistest"
	"github.com/plugfn/plugfn/services/executor/answers"
)

// A real server, with the client that the executor has: it does what the memory
// does, and one that is frozen gives errors and no waits.
func TestRedisServer(t *testing.T) {
	server := redistest.Start(t)
	client, err := limiter.NewRedisClient("redis://" + server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	s := answers.NewRedis(client)
	conform(t, s, nil)
	put(t, s, "short", "v", 50*time.Millisecond)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if v, _ := get(t, s, "short"); v == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what is kept for a moment is still there")
		}
	}
	server.Freeze(t)
	for range 10 {
		if v, stamps, err := s.Get(t.Context(), "b", []string{"m"}); err == nil {
			t.Errorf("a frozen server gives %q, %q", v, stamps)
		}
	}
	server.Thaw(t)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if v, _, err := s.Get(t.Context(), "short2", []string{"m"}); err == nil && v == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a server that is back is not asked again")
		}
	}
}
