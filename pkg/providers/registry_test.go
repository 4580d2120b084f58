package providers

import (
	"slices"
	"strings"
	"testing"
)

func TestRegistry(t *testing.T) {
	packs := map[string]*Pack{
		"github": {Name: "github", HTTP: HTTP{BaseURL: "https://api.github.com"}},
		"slack":  {Name: "slack", HTTP: HTTP{BaseURL: "https://slack.com/api"}},
	}
	apps := map[string]App{"github": {BaseURL: "http://127.0.0.1:9/api/v3/", ClientID: "id", WebhookSecrets: []Secret{NewSecret([]byte("s"))}}}
	r, err := NewRegistry(packs, apps)
	if err != nil {
		t.Fatal(err)
	}
	delete(packs, "slack")
	apps["github"].WebhookSecrets[0] = Secret{}
	r.App("github").WebhookSecrets[0] = Secret{}
	r.Names()[0] = "x"

	if got := r.Names(); !slices.Equal(got, []string{"github", "slack"}) {
		t.Errorf("names are %v", got)
	}
	if p, ok := r.Pack("slack"); !ok || p.Name != "slack" {
		t.Errorf("slack is %v, %t", p, ok)
	}
	if _, ok := r.Pack("linear"); ok {
		t.Error("there is a pack linear")
	}
	if app := r.App("github"); app.ClientID != "id" || app.WebhookSecrets[0].IsZero() {
		t.Errorf("the app of github is %+v", app)
	}
	if app := r.App("slack"); app.ClientID != "" || app.WebhookSecrets != nil {
		t.Errorf("the app of slack is %+v", app)
	}
	for name, want := range map[string]string{"github": "http://127.0.0.1:9/api/v3", "slack": "https://slack.com/api", "linear": ""} {
		if got := r.BaseURL(name); got != want {
			t.Errorf("base of %s is %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"gihtub": "github", "Slack": "slack", "salesforce": ""} {
		if got := r.Nearest(name); got != want {
			t.Errorf("nearest to %s is %q, want %q", name, got, want)
		}
	}
}

func TestNewRegistryRefuses(t *testing.T) {
	packs := map[string]*Pack{"github": {Name: "github"}}
	_, err := NewRegistry(packs, map[string]App{"gitub": {}, "github": {BaseURL: "https://u:hunter2@x.example"}})
	want := "app github: base URL: must not hold a user or a password\napp gitub: no provider has this name, did you mean github?"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for _, base := range []string{"x", "/v1", "ftp://x.example", "https://", "https://x.example?a", "https://x.example/?", "https://x.example#f", "https://x.example/../a", "https://x.example/a%2fb", "https://x.example:port", "https://user@x.example", "https://x example", "http://"} {
		if _, err := NewRegistry(packs, map[string]App{"github": {BaseURL: base}}); err == nil || strings.Contains(err.Error(), "example") {
			t.Errorf("%s gives %v", base, err)
		}
	}
}
