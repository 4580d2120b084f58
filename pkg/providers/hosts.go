package providers

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$`)

// isHost reports whether s is a host as a pack writes it: in lower case, with a
// port where it is not that of https.
func isHost(s string) bool { return len(s) <= 253 && hostName.MatchString(s) }

// hostOf is the host of u, with its port where it is not that of the scheme.
func hostOf(u *url.URL) string {
	host, port := strings.ToLower(u.Host), u.Port()
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return strings.TrimSuffix(host, ":"+port)
	}
	return host
}

// Hosts lists the hosts that the pack's requests may go to, in alphabetical
// order: those of base_url and of the auth blocks, and http.allow_hosts.
func (p *Pack) Hosts() []string {
	hosts := map[string]bool{}
	for _, base := range p.bases() {
		if u, err := url.Parse(base); err == nil && u.Host != "" {
			hosts[hostOf(u)] = true
		}
	}
	for _, host := range p.HTTP.AllowHosts {
		hosts[host] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

// bases lists scheme and host of every URL in the pack, empty ones among them.
func (p *Pack) bases() []string {
	all := []string{p.HTTP.BaseURL}
	for _, a := range p.Auth {
		for _, at := range a.addresses() {
			all = append(all, at.origin)
		}
	}
	return all
}

// addresses lists the URLs that the auth block names, the empty ones among them.
func (a *Auth) addresses() []Address {
	all := []Address{a.Refresh.URL}
	if a.Authorize != nil {
		all = append(all, a.Authorize.URL)
	}
	if a.Device != nil {
		all = append(all, a.Device.URL)
	}
	if a.Token != nil {
		all = append(all, a.Token.URL)
	}
	if a.Revoke != nil {
		all = append(all, a.Revoke.URL)
	}
	return all
}

// MayCall reports whether a request of the provider may go to u: to a host of
// its pack, to one of its accounts' own, or of a base URL that the operator set
// instead.
func (r *Registry) MayCall(provider string, u *url.URL) bool {
	if r.hosts[provider][hostOf(u)] {
		return true
	}
	p, ok := r.packs[provider]
	return ok && r.apps[provider].BaseURL == "" && p.HTTP.site != nil && p.HTTP.site.holds(u)
}

// hostsOf is what [Registry.MayCall] looks into.
func hostsOf(p *Pack, app App) map[string]bool {
	hosts := map[string]bool{}
	for _, host := range p.Hosts() {
		hosts[host] = true
	}
	for _, base := range []string{app.BaseURL, app.AuthBaseURL} {
		if u, err := url.Parse(base); err == nil && u.Host != "" {
			hosts[hostOf(u)] = true
		}
	}
	return hosts
}

// OperatorURLs lists the base URLs that the operator answers for, because he set
// them, or because the pack is his own: no shipped one is on this computer.
func (r *Registry) OperatorURLs() []string {
	var all []string
	for _, name := range r.names {
		app := r.apps[name]
		for _, base := range []string{app.BaseURL, app.AuthBaseURL} {
			if base != "" {
				all = append(all, base)
			}
		}
		for _, base := range r.packs[name].bases() {
			if u, err := url.Parse(base); err == nil && u.Scheme == "http" {
				all = append(all, base)
			}
		}
	}
	return all
}
