package providertest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// recognised checks that a write bears its key, and that it is found again by
// it and not by another one.
func recognised(t T, pack *providers.Pack, a *providers.Action, f providers.ActionFixture) {
	t.Helper()
	if a.Idempotency == nil {
		return
	}
	auth := pack.Auth[0]
	req, err := a.NewWrite(t.Context(), pack.HTTP.BaseURL, f.Params, canaryOf(auth), providers.Mark{Key: providers.FixtureKey})
	if err != nil {
		t.Fatalf("NewWrite: %v", err)
	}
	keyed(t, a, f.Params, req)
	if f.Look != nil {
		look(t, pack, a, f)
	}
}

// keyed looks for the key where the pack says that it is.
func keyed(t T, a *providers.Action, params json.RawMessage, req *http.Request) {
	t.Helper()
	i := a.Idempotency
	if i.Header != "" {
		if got := req.Header[strings.ToLower(i.Header)]; len(got) != 1 || got[0] != providers.FixtureKey {
			t.Errorf("header %s is %q, want the key", i.Header, got)
		}
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if _, ok := req.Header[name]; ok {
			t.Errorf("header %s in this spelling has net/http repeat the write by itself", name)
		}
	}
	stamped := i.Field != "" || i.Stamp != nil && a.EffectOf(params) == providers.EffectReconcile
	if stamped && !strings.Contains(string(readBody(t, req)), providers.FixtureKey) {
		t.Error("the body does not bear the key")
	}
}

// look checks the search of a fixture.
func look(t T, pack *providers.Pack, a *providers.Action, f providers.ActionFixture) {
	t.Helper()
	auth := pack.Auth[0]
	search, ok := a.Look(f.Params, providers.FixtureKey, providers.FixtureSent())
	if !ok {
		t.Fatal("the fixture has a look, but this request is not looked for")
	}
	req, err := search.NewRequest(t.Context(), pack.HTTP.BaseURL, canaryOf(auth))
	if err != nil {
		t.Fatalf("look: NewRequest: %v", err)
	}
	credential(t, auth, req)
	request(t, pack, f.Look.Request, req)
	found, err := search.Read(f.Look.Response.HTTP()) //nolint:bodyclose // made of bytes
	if err != nil || found.Data == nil {
		t.Fatalf("look: found %s, %v", found.Data, err)
	}
	sameJSON(t, "data of the look", f.Look.Data, found.Data)

	// Another key, at a later time, is another write.
	other, _ := a.Look(f.Params, strings.Replace(providers.FixtureKey, "0", "f", 1), providers.FixtureSent().Add(time.Hour))
	if found, err := other.Read(f.Look.Response.HTTP()); err != nil || found.Data != nil { //nolint:bodyclose // made of bytes
		t.Errorf("look: the write of another request is taken for this one's, %v", err)
	}
}
