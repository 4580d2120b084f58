package executor

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

func inRedis(t *testing.T, server *miniredis.Miniredis) func(*Config) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return func(c *Config) { c.Redis = client }
}

// One executor uses what another one asked for, and sees what another one wrote.
func TestAnswersAreShared(t *testing.T) {
	server := miniredis.RunT(t)
	d := &stock{}
	s := tell(t, d.ServeHTTP, shelf(t), inRedis(t, server))
	thing := events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)}
	s.start()
	if r := s.ask(thing); r.Cached || r.Outcome != events.Succeeded {
		t.Fatalf("got %+v", r)
	}
	s.stop()
	s.start() // another one, with a memory of its own
	if r := s.ask(thing); !r.Cached || string(r.Data) != `{"state":0,"text":"<&>"}` || d.count("/things/1") != 1 {
		t.Errorf("got %+v %s, asked %d times", r, r.Data, d.count("/things/1"))
	}
	kept := 0
	for _, key := range server.Keys() {
		value, err := server.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(key, "plugfn:answer:") {
			kept++
		}
		if text := key + value; strings.Contains(text, "state") || strings.Contains(text, "u1") || strings.Contains(text, "con_only") {
			t.Errorf("%q is %q: not encrypted", key, value)
		}
	}
	if kept != 1 {
		t.Errorf("%d answers are kept", kept)
	}
	s.ask(events.ActionRequest{Action: "things.put", Params: json.RawMessage(`{"id":"1"}`)})
	s.stop()
	s.start()
	if r := s.ask(thing); r.Cached || string(r.Data) != `{"state":1,"text":"<&>"}` {
		t.Errorf("after a write elsewhere: %+v %s", r, r.Data)
	}
}

// Without Redis nothing is kept, and nothing fails.
func TestAnswersWithoutRedis(t *testing.T) {
	server := miniredis.RunT(t)
	d := &stock{}
	s := tell(t, d.ServeHTTP, shelf(t), inRedis(t, server))
	s.start()
	server.Close()
	for n := range 5 {
		r := s.ask(events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
		if r.Outcome != events.Succeeded || r.Cached || d.count("/things/1") != n+1 {
			t.Errorf("%d: %+v, asked %d times", n, r, d.count("/things/1"))
		}
	}
	if r := s.ask(events.ActionRequest{Action: "things.put", Params: json.RawMessage(`{"id":"1"}`)}); r.Outcome != events.Succeeded {
		t.Errorf("a write: %+v", r)
	}
}

func TestSeal(t *testing.T) {
	one := mustCredential(t)
	s, ok := sealOf(one)
	if !ok {
		t.Fatal("a credential with a token seals nothing")
	}
	closed := s.close("here", []byte("secret"))
	if again, _ := sealOf(one); again.aead == nil {
		t.Error("it seals once only")
	} else if open, err := again.open("here", closed); err != nil || string(open) != "secret" {
		t.Errorf("opened %q, %v", open, err)
	}
	if strings.Contains(string(closed), "secret") {
		t.Error("it is not encrypted")
	}
	if _, err := s.open("there", closed); err == nil {
		t.Error("it opens in another place")
	}
	for i := range closed {
		if _, err := s.open("here", closed[:i]); err == nil {
			t.Errorf("the first %d bytes of it open", i)
		}
	}
	token := func(text string) providers.Secret { return providers.NewSecret([]byte(text)) }
	for name, other := range map[string]providers.Credential{
		"another token":      {Token: token("t1"), ConnectionID: one.ConnectionID},
		"another connection": {Token: one.Token, ConnectionID: "con_2"},
		"another field":      {Token: one.Token, ConnectionID: one.ConnectionID, Fields: map[string]providers.Secret{"a": token("b")}},
		"a field instead":    {ConnectionID: one.ConnectionID, Fields: map[string]providers.Secret{"token": one.Token}},
	} {
		o, ok := sealOf(other)
		if !ok {
			t.Fatal(name)
		}
		if _, err := o.open("here", closed); err == nil {
			t.Errorf("%s opens it", name)
		}
	}
	if _, ok := sealOf(providers.Credential{ConnectionID: "con_1"}); ok {
		t.Error("nothing secret seals")
	}
}
