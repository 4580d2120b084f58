package providers

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// App is what the operator sets for a provider. All of it is optional.
type App struct {
	BaseURL        string // instead of the pack's, such as a GitHub Enterprise host or a test server
	AuthBaseURL    string // instead of scheme and host in the absolute URLs of the pack's auth blocks
	WebhookSecrets []Secret
	AllowUnsigned  bool     // take deliveries of a provider that signs none
	EndpointHosts  []string // that an endpoint's own webhooks block may have called, such as login.example.com or sns.*.amazonaws.com
	ClientID       string
	ClientSecret   Secret
	PrivateKey     Secret // PEM; what a GitHub App signs with
}

// Registry is the set of packs that a program works with, and the operator's
// settings for them. It is immutable and safe for concurrent use.
type Registry struct {
	packs map[string]*Pack
	apps  map[string]App
	names []string
	hosts map[string]map[string]bool // :: provider → host that its requests may go to
}

// NewRegistry joins packs and apps, both by provider name. An app without a
// pack or with a bad base URL is an error.
func NewRegistry(packs map[string]*Pack, apps map[string]App) (*Registry, error) {
	r := &Registry{
		packs: maps.Clone(packs),
		apps:  map[string]App{},
		names: slices.Sorted(maps.Keys(packs)),
		hosts: map[string]map[string]bool{},
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		if _, ok := r.packs[name]; !ok {
			problems = append(problems, fmt.Errorf("app %s: no provider has this name%s", clip(name, 60), nearest.Hint(name, maps.Keys(packs))))
			continue
		}
		app := apps[name]
		for _, base := range [][2]string{{"base URL", app.BaseURL}, {"base URL of auth", app.AuthBaseURL}} {
			if base[1] == "" {
				continue
			}
			if _, err := parseBase(base[1]); err != nil {
				problems = append(problems, fmt.Errorf("app %s: %s: %w", name, base[0], err))
			}
		}
		for _, host := range app.EndpointHosts {
			if _, err := parseHostPattern(host); err != nil {
				problems = append(problems, fmt.Errorf("app %s: endpoint host %s: %w", name, clip(host, 60), err))
			}
		}
		app.WebhookSecrets = slices.Clone(app.WebhookSecrets)
		app.EndpointHosts = slices.Clone(app.EndpointHosts)
		r.apps[name] = app
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	for name, pack := range r.packs {
		r.hosts[name] = hostsOf(pack, r.apps[name])
	}
	return r, nil
}

// Pack returns the pack of a provider.
func (r *Registry) Pack(name string) (*Pack, bool) {
	p, ok := r.packs[name]
	return p, ok
}

// Names lists the providers in alphabetical order.
func (r *Registry) Names() []string { return slices.Clone(r.names) }

// Nearest returns the provider that name was most likely meant to be, or "".
func (r *Registry) Nearest(name string) string { return nearest.Name(name, slices.Values(r.names)) }

// App returns the operator's settings for a provider; the zero value if there
// are none.
func (r *Registry) App(name string) App {
	app := r.apps[name]
	app.WebhookSecrets = slices.Clone(app.WebhookSecrets)
	app.EndpointHosts = slices.Clone(app.EndpointHosts)
	return app
}

// endpointHosts are the hosts as patterns. What is none counts for nothing.
func (a *App) endpointHosts() []HostPattern {
	var all []HostPattern
	for _, host := range a.EndpointHosts {
		if h, err := parseHostPattern(host); err == nil {
			all = append(all, h)
		}
	}
	return all
}

// BaseURL is where the provider's API is: the app's, else the pack's, without a
// slash at the end. It is "" for an unknown provider.
func (r *Registry) BaseURL(name string) string {
	base := r.apps[name].BaseURL
	if p, ok := r.packs[name]; ok && base == "" {
		base = p.HTTP.BaseURL
	}
	return strings.TrimRight(base, "/")
}

// parseBase reads a base URL: where requests go, and nothing else. Messages
// quote no part of it, it may hold a password by mistake.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("must begin with https:// or http:// and a host")
	case u.User != nil:
		return nil, errors.New("must not hold a user or a password")
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New("must not have a query")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, errors.New("must not have a fragment")
	}
	if err := checkSegments(strings.TrimRight(u.EscapedPath(), "/")); err != nil {
		return nil, fmt.Errorf("path %w", err)
	}
	u.Host = strings.TrimSuffix(u.Host, ":") // an empty port is none
	return u, nil
}

// checkSegments refuses a path that a server or a proxy could read differently
// than it is written.
func checkSegments(escaped string) error {
	if escaped == "" {
		return nil
	}
	for _, segment := range strings.Split(strings.TrimPrefix(escaped, "/"), "/") {
		switch plain, err := url.PathUnescape(segment); {
		case err != nil || strings.ContainsAny(plain, "/\\%?#"):
			return errors.New("has a segment with one of / \\ % ? # escaped in it")
		case plain == "" || plain == "." || plain == "..":
			return errors.New("has a segment that is empty or only dots")
		}
	}
	return nil
}
