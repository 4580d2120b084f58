package auth

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// runClient has c remember until the end of the test.
func runClient(t testing.TB, c *Client) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the client to remember", func() bool { c.cache.mu.Lock(); defer c.cache.mu.Unlock(); return c.cache.on })
}

func TestAClientThatRunsAsksLessOften(t *testing.T) {
	r := newRig(t)
	r.serve(t)
	c := r.connect(t, "u1", "github", "ghp_1")
	client := newClient(t, r)
	counting := &counted{KeyValue: r.store.kv}
	get := func() (version int) {
		t.Helper()
		got, err := client.Credential(t.Context(), "u1", "github", "")
		if err != nil {
			t.Fatal(err)
		}
		return got.Version
	}
	get()
	if _, known := client.cache.get(events.Key("u1", "github"), ""); known {
		t.Error("it remembers and does not run")
	}
	runClient(t, client)
	r.store.kv = counting
	get()
	if _, known := client.cache.get(events.Key("u1", "github"), ""); !known {
		t.Error("it does not remember")
	}
	// A newer credential is heard of.
	if _, err := r.replace(t.Context(), c.ID, newConnection{UserID: "u1", Token: secret("ghp_2")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the newer credential", func() bool { return get() == 2 })
	if err := r.delete(t.Context(), "u1", c.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the connection", func() bool {
		_, err := client.Credential(t.Context(), "u1", "github", "")
		return err != nil
	})
}

func TestARefusedCredentialIsNotRemembered(t *testing.T) {
	f := newFleet(t, oauthtest.Config{Quirks: oauthtest.Quirks{OldAccessDies: true}})
	clock := &clock{}
	f.cfg.Now = clock.now
	f.start(t, f.add(t, fast))
	c := f.connect(t, "u1")
	client, err := NewClient(f.replicas[0].conn)
	if err != nil {
		t.Fatal(err)
	}
	runClient(t, client)
	first, err := client.Credential(t.Context(), "u1", "strict", c.ID)
	if err != nil {
		t.Fatal(err)
	}
	clock.add(10 * time.Minute)
	newer, err := client.Refused(t.Context(), "u1", "strict", first)
	if err != nil || newer.Version != first.Version+1 || newer.Token.Equal(first.Token) {
		t.Errorf("version %d, %v", newer.Version, err)
	}
	if again, err := client.Credential(t.Context(), "u1", "strict", c.ID); err != nil || again.Version != newer.Version {
		t.Errorf("version %d, %v", again.Version, err)
	}
}

func TestCache(t *testing.T) {
	credential := func(version int) *cached {
		return &cached{owner: "u.p", id: "c", credential: providers.Credential{Version: version}, until: time.Now().Add(time.Minute)}
	}
	version := func(c *cache) int {
		got, _ := c.get("u.p", "c")
		return got.Version
	}
	t.Run("time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCache()
			c.reset(true)
			c.end(c.begin("u.p"), "u.p", credential(1))
			time.Sleep(59 * time.Second)
			if version(c) != 1 {
				t.Error("forgotten too early")
			}
			time.Sleep(2 * time.Second)
			if version(c) != 0 || c.order.Len() != 0 || len(c.owners) != 0 {
				t.Error("remembered for too long")
			}
		})
	})
	t.Run("a change while it is asked for", func(t *testing.T) {
		c := newCache()
		c.reset(true)
		asking, other := c.begin("u.p"), c.begin("u.q")
		c.drop("u.p")
		c.end(asking, "u.p", credential(1))
		if version(c) != 0 {
			t.Error("what may be old is remembered")
		}
		kept := credential(1)
		kept.owner = "u.q"
		c.end(other, "u.q", kept)
		if _, known := c.get("u.q", "c"); !known || len(c.asking) != 0 {
			t.Error("what did not change is forgotten")
		}
	})
	t.Run("off", func(t *testing.T) {
		c := newCache()
		asking := c.begin("u.p")
		c.reset(true)
		c.end(asking, "u.p", credential(1))
		c.end(c.begin("u.p"), "u.p", credential(2))
		c.reset(false)
		c.end(c.begin("u.p"), "u.p", credential(3))
		if version(c) != 0 {
			t.Error("it remembers")
		}
	})
	t.Run("bounded", func(t *testing.T) {
		c := newCache()
		c.reset(true)
		for i := range maxCached + 10 {
			one := credential(i)
			one.owner = fmt.Sprint("u.", i)
			c.end(c.begin(one.owner), one.owner, one)
			c.get("u.0", "c") // used all the time
		}
		if c.order.Len() != maxCached || len(c.owners) != maxCached {
			t.Errorf("%d remembered of %d users", c.order.Len(), len(c.owners))
		}
		if _, known := c.get("u.0", "c"); !known {
			t.Error("what is used is forgotten")
		}
		if _, known := c.get("u.1", "c"); known {
			t.Error("what is not used is remembered")
		}
	})
}
