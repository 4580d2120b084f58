package providers

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const authorities = `    apply: {header: Authorization, value: "Bearer {{credential.token}}"}
  - id: oauth
    type: oauth2
    authorize: {url: https://accounts.lamp.example/authorize}
    token: {url: "https://Login.lamp.example:8443/token", client_auth: post}
`

func TestHosts(t *testing.T) {
	text := change(t, minimal, "http:\n", "http:\n  allow_hosts: [files.lamp.example, \"cdn.lamp.example:8443\"]\n")
	text = change(t, text, "    apply: {header: Authorization, value: \"Bearer {{credential.token}}\"}\n", authorities)
	pack := mustLoad(t, text)
	want := []string{"accounts.lamp.example", "api.lamp.example", "cdn.lamp.example:8443", "files.lamp.example", "login.lamp.example:8443"}
	if diff := cmp.Diff(want, pack.Hosts()); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	r, err := NewRegistry(map[string]*Pack{pack.Name: pack}, map[string]App{pack.Name: {BaseURL: "http://10.0.0.1:80/api", AuthBaseURL: "https://sso.corp"}})
	if err != nil {
		t.Fatal(err)
	}
	for target, may := range map[string]bool{
		"https://api.lamp.example/v1":       true,
		"https://API.lamp.example:443/v1":   true,
		"https://files.lamp.example/a":      true,
		"https://cdn.lamp.example:8443/a":   true,
		"http://10.0.0.1/api":               true,
		"https://sso.corp/token":            true,
		"https://cdn.lamp.example/a":        false,
		"https://api.lamp.example:8443/":    false,
		"https://api.lamp.example.evil.com": false,
		"https://evil.com/api.lamp.example": false,
		"https://xapi.lamp.example":         false,
		"http://10.0.0.1:8080/":             false,
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if r.MayCall(pack.Name, u) != may {
			t.Errorf("%s: may be called is %t", target, !may)
		}
		if r.MayCall("other", u) {
			t.Errorf("%s: an unknown provider may call it", target)
		}
	}
	if diff := cmp.Diff([]string{"http://10.0.0.1:80/api", "https://sso.corp"}, r.OperatorURLs()); diff != "" {
		t.Errorf("of the operator (-want +got):\n%s", diff)
	}
}

func TestOperatorURLsOfAnOwnPack(t *testing.T) {
	pack := mustLoad(t, change(t, minimal, "https://api.lamp.example/v1", "http://127.0.0.1:9000"))
	r, err := NewRegistry(map[string]*Pack{pack.Name: pack}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.OperatorURLs(); len(got) != 1 || got[0] != "http://127.0.0.1:9000" {
		t.Errorf("got %q", got)
	}
}

func TestAllowHostsAreNames(t *testing.T) {
	for _, host := range []string{"https://files.lamp.example", "files.lamp.example/path", "*.lamp.example", "Files.example", "a..b", "host:0", "user@host", "-a.example"} {
		_, err := loadText(t, change(t, minimal, "http:\n", "http:\n  allow_hosts: [\""+host+"\"]\n"))
		if err == nil || !strings.Contains(err.Error(), "http.allow_hosts[0]") {
			t.Errorf("%q gives %v", host, err)
		}
	}
}
