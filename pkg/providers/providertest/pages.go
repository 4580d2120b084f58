package providertest

import (
	"errors"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// page checks where the answer of a fixture leads to, and that nothing in it
// leads elsewhere.
func page(t T, pack *providers.Pack, a *providers.Action, f providers.ActionFixture) {
	t.Helper()
	if a.GivesFile() {
		return
	}
	for _, auth := range pack.Auth {
		resp := f.Response.HTTP()
		defer resp.Body.Close()
		resp.Request = newRequest(t, pack, a, f.Params, auth)
		got, err := a.ReadPage(resp, f.Params)
		if err != nil {
			t.Fatalf("ReadPage: %v", err)
		}
		sameJSON(t, "data of the page", f.Data(), got.Data)
		if (got.Next != nil) != (f.Expect.Next != nil) {
			t.Fatalf("the answer leads to another page is %t; next in expect says otherwise", got.Next != nil)
		}
		if got.Next == nil {
			continue
		}
		sameJSON(t, "next", f.Expect.Next, got.Next.Params)
		req, err := a.NewNextRequest(t.Context(), pack.HTTP.BaseURL, got.Next, canaryOf(auth))
		if err != nil {
			t.Fatalf("NewNextRequest: %v", err)
		}
		credential(t, auth, req)
		base := baseOf(t, pack, canaryOf(auth))
		if req.URL.Scheme != base.Scheme || req.URL.Host != base.Host || req.Method != f.Request.Method {
			t.Errorf("the next page is asked for by %s %s", req.Method, req.URL)
		}
		if a.Paginate.Type == providers.PageLink {
			elsewhere(t, a, got.Next, auth)
		}
	}
}

// elsewhere has the provider at another base URL: its own link leads away then.
func elsewhere(t T, a *providers.Action, next *providers.Next, auth *providers.Auth) {
	t.Helper()
	var refused *events.Error
	_, err := a.NewNextRequest(t.Context(), "https://other.example/api", next, canaryOf(auth))
	if !errors.As(err, &refused) || refused.Code != events.CodeProviderRejected {
		t.Errorf("a link to another host gives %v, want %s", err, events.CodeProviderRejected)
	}
}
