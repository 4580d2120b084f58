package providers

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plugfn/plugfn/pkg/events"
)

const sitePack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: demo
version: 1.0.0
display: {name: Demo}
auth:
  - id: key
    type: api_key
    fields: [{name: site, label: Site, public: true}, {name: token, label: Key}]
    apply: {header: Authorization, value: "Bearer {{credential.token}}"}
    probe: {method: GET, path: /me}
http: {base_url: "https://{{credential.site}}.demo.example/api"}
actions:
  things.list:
    summary: List
    effect: read
    params: {type: object, additionalProperties: false}
    request: {method: GET, path: /things}
    paginate: {type: link, items: json:/items}
`

func loadSite(t *testing.T, replace ...string) (*Pack, error) {
	t.Helper()
	return Load(fstest.MapFS{"demo/provider.yaml": {Data: []byte(strings.NewReplacer(replace...).Replace(sitePack))}}, "demo")
}

// hostile are texts that lead elsewhere where they are put into a URL.
func hostile() []string {
	return []string{
		"", "evil.example/", "evil.example#", "evil.example?", "a.b", "a@evil.example", "a:b@evil", "a/", "a\\", "..", ".", "-a", "a-", "A", "a b", "a%2e",
		"a\n", "é", "127.0.0.1", "[::1]", "{{credential.token}}", "a:8443", strings.Repeat("a", 64), "a\x00",
	}
}

func TestSite(t *testing.T) {
	p, err := loadSite(t)
	if err != nil {
		t.Fatal(err)
	}
	action := p.Actions["things.list"]
	registry, err := NewRegistry(map[string]*Pack{"demo": p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	credential := func(site string) Credential {
		return Credential{Auth: "key", Token: NewSecret([]byte("key")), Fields: map[string]Secret{"site": NewSecret([]byte(site))}}
	}
	for _, site := range []string{"a", "acme", "acme-2", "xn--80ak6aa92e", strings.Repeat("a", 63)} {
		req, err := action.NewRequest(t.Context(), registry.BaseURL("demo"), json.RawMessage(`{}`), credential(site))
		if err != nil || req.URL.String() != "https://"+site+".demo.example/api/things" || !registry.MayCall("demo", req.URL) {
			t.Errorf("%s: %v, %v", site, req, err)
		}
		if _, err := p.CheckSite(credential(site).Fields); err != nil {
			t.Errorf("%s: %v", site, err)
		}
		probe, err := p.Auth[0].Probe.NewRequest(t.Context(), App{}, credential(site))
		if err != nil || probe.URL.Host != site+".demo.example" {
			t.Errorf("%s: %v, %v", site, probe, err)
		}
	}
	for _, site := range hostile() {
		var told *events.Error
		req, err := action.NewRequest(t.Context(), registry.BaseURL("demo"), json.RawMessage(`{}`), credential(site))
		if !errors.As(err, &told) || told.Code != events.CodeNeedsReauth || len(site) > 3 && strings.Contains(err.Error(), site) {
			t.Errorf("%q: %v, %v", site, req, err)
		}
		if field, err := p.CheckSite(credential(site).Fields); err == nil || field != "site" {
			t.Errorf("%q passes for a site", site)
		}
		if u, err := url.Parse("https://" + site + ".demo.example/"); err == nil && site != "A" && registry.MayCall("demo", u) {
			t.Errorf("%q may be called", u)
		}
	}
	for _, address := range []string{"http://acme.demo.example/", "https://demo.example/", "https://a.b.demo.example/", "https://acme.demo.example:8443/", "https://acme.demo.example.evil.example/", "https://evil.example/"} {
		if u, _ := url.Parse(address); registry.MayCall("demo", u) {
			t.Errorf("%s may be called", address)
		}
	}
}

// TestSiteOfNextPage: a link to the next page does not carry the credential to
// another account's host.
func TestSiteOfNextPage(t *testing.T) {
	p, err := loadSite(t)
	if err != nil {
		t.Fatal(err)
	}
	cred := Credential{Auth: "key", Token: NewSecret([]byte("key")), Fields: map[string]Secret{"site": NewSecret([]byte("acme"))}}
	for link, good := range map[string]bool{"https://acme.demo.example/api/things?p=2": true, "https://other.demo.example/api/things?p=2": false} {
		u, _ := url.Parse(link)
		_, err := p.Actions["things.list"].NewNextRequest(t.Context(), p.HTTP.BaseURL, &Next{link: u, all: json.RawMessage(`{}`)}, cred)
		if (err == nil) != good {
			t.Errorf("%s: %v", link, err)
		}
	}
}

// TestSiteOverridden: an operator's base URL needs no site.
func TestSiteOverridden(t *testing.T) {
	p, err := loadSite(t)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := NewRegistry(map[string]*Pack{"demo": p}, map[string]App{"demo": {BaseURL: "https://proxy.example/demo"}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := p.Actions["things.list"].NewRequest(t.Context(), registry.BaseURL("demo"), json.RawMessage(`{}`), Credential{Auth: "key", Token: NewSecret([]byte("key"))})
	if err != nil || req.URL.String() != "https://proxy.example/demo/things" {
		t.Errorf("%v, %v", req, err)
	}
	if u, _ := url.Parse("https://acme.demo.example/"); registry.MayCall("demo", u) {
		t.Error("the account's own host may be called although it is replaced")
	}
}

func TestSiteRefuses(t *testing.T) {
	const base = "https://{{credential.site}}.demo.example/api"
	for name, tt := range map[string]struct{ old, to, want string }{
		"no suffix":          {base, "https://{{credential.site}}/api", "as the first label of its host"},
		"one label":          {base, "https://{{credential.site}}.example/api", "as the first label of its host"},
		"not the first":      {base, "https://api.{{credential.site}}.demo.example", "as the first label of its host"},
		"part of a label":    {base, "https://a-{{credential.site}}.demo.example", "as the first label of its host"},
		"two":                {base, "https://{{credential.site}}.{{credential.site}}.demo.example", "as the first label of its host"},
		"in the path":        {base, "https://demo.example/{{credential.site}}", "as the first label of its host"},
		"a port":             {base, "https://{{credential.site}}.demo.example:8443", "as the first label of its host"},
		"another scheme":     {base, "http://{{credential.site}}.demo.example", "as the first label of its host"},
		"a parameter":        {base, "https://{{params.site}}.demo.example", "as the first label of its host"},
		"the token":          {base, "https://{{credential.token}}.demo.example", "as the first label of its host"},
		"a slash at the end": {base, base + "/", "must not end with a slash"},
		"a secret field":     {"public: true", "public: false", "needs site with public: true"},
		"an unknown field":   {"{{credential.site}}", "{{credential.shop}}", "needs shop with public: true"},
	} {
		if _, err := loadSite(t, tt.old, tt.to); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
