package auth

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plugfn/plugfn/pkg/providers"
)

// sitePack is a provider that gives each account a host of its own.
const sitePack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: strict
version: 1.0.0
display: {name: Strict}
auth:
  - id: key
    type: api_key
    fields: [{name: site, label: Site, public: true}, {name: token, label: Key}]
    apply: {header: Authorization, value: "Bearer {{credential.token}}"}
http: {base_url: "https://{{credential.site}}.demo.example/api"}
actions:
  me:
    summary: Me
    effect: read
    params: {type: object, additionalProperties: false}
    request: {method: GET, path: /me}
`

// TestSiteIsOneLabel: who connects an account names its host, and no other one.
func TestSiteIsOneLabel(t *testing.T) {
	pack, err := providers.Load(fstest.MapFS{"strict/provider.yaml": {Data: []byte(sitePack)}}, "strict")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"strict": pack}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := newFlowRig(t, flowOptions{config: func(c *Config) { c.Providers = registry }})
	connect := func(site string) answer {
		body, err := json.Marshal(map[string]any{"provider": "strict", "user_id": "u1", "fields": map[string]string{"site": site, "token": "key"}})
		if err != nil {
			t.Fatal(err)
		}
		return f.do(t, "POST", "/v1/connections", string(body))
	}
	if got := connect("acme"); got.status != http.StatusCreated {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, site := range []string{"evil.example/", "a.b", "a@evil.example", "A", "-a", "127.0.0.1"} {
		if got := connect(site); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.problem(t).Detail, "must be what stands before .demo.example") || strings.Contains(got.body, "evil") {
			t.Errorf("%s: %d %s", site, got.status, got.body)
		}
	}
}
