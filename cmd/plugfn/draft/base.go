package draft

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// BaseError says that the description does not tell where the API is.
type BaseError struct{ Servers []string }

// Error returns the message.
func (e *BaseError) Error() string {
	if len(e.Servers) == 0 {
		return "the description does not say where the API is: servers is missing"
	}
	return "the description does not say where the API is: none of its servers is an https address: " + strings.Join(e.Servers, ", ")
}

var serverVariable = regexp.MustCompile(`\{([^{}]+)\}`)

// setBase chooses the base URL.
func (a *api) setBase(d *Draft, given string) error {
	if given != "" {
		base, ok := baseURL(given)
		if !ok {
			return fmt.Errorf("base URL %s: must be https://host/path", clip(given, 100))
		}
		d.base, d.prefix = base, prefixOf(base)
		return nil
	}
	var seen []string
	for i, sv := range a.servers {
		at := fmt.Sprintf("servers[%d]", i)
		text := sv.url
		for _, m := range serverVariable.FindAllStringSubmatch(sv.url, -1) {
			if sv.variables[m[1]] == "" {
				d.note(at, "the variable %s has no default", clip(m[1], 40))
			}
			text = strings.ReplaceAll(text, m[0], sv.variables[m[1]])
		}
		base, ok := baseURL(text)
		if !ok {
			if len(seen) < 5 {
				seen = append(seen, clip(text, 100))
			}
			continue
		}
		if strings.HasPrefix(text, "http://") {
			d.note(at, "is written with http, the pack uses https")
		}
		if len(serverVariable.FindAllString(sv.url, 1)) > 0 {
			d.note(at, "the address has variables, which stand in the pack with their defaults: %s", clip(sv.url, 100))
		}
		d.base, d.prefix = base, prefixOf(base)
		return nil
	}
	return &BaseError{Servers: seen}
}

// baseURL makes an address fit for a pack: https but for this computer.
func baseURL(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "//") {
		text = "https:" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", false
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	local := u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost" || u.Hostname() == "::1"
	if local && u.Scheme == "http" {
		return "http://" + u.Host + path, path == "" || addressPath.MatchString(path)
	}
	host := strings.TrimSuffix(u.Host, ":443")
	if u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	}
	if !isHost(host) || path != "" && !addressPath.MatchString(path) {
		return "", false
	}
	return "https://" + strings.ToLower(host) + path, true
}

// prefixOf is the reverse domain of a base URL, for events.
func prefixOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	labels := strings.Split(u.Hostname(), ".")
	if len(labels) < 2 {
		return ""
	}
	return strings.ToLower(labels[len(labels)-1] + "." + labels[len(labels)-2])
}
