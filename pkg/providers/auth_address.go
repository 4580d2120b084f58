package providers

import (
	"cmp"
	"errors"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Address is a URL of an auth block: an absolute one, or a path below the base
// URL of the provider. Segments of its path may hold fields:
//
//	https://github.com/login/oauth/access_token
//	/app/installations/{{credential.installation_id}}/access_tokens
//
// The operator's [App] moves both kinds to another place. The zero value is no
// address.
type Address struct {
	text     string
	origin   string   // scheme and host; "": below the base URL
	path     Template // without the slash at its end
	segments []segment
	slash    bool // it ends in a slash
}

// UnmarshalYAML reads the written form.
func (a *Address) UnmarshalYAML(node *yaml.Node) error {
	text, err := scalarText(node)
	if err != nil {
		return err
	}
	if *a, err = parseAddress(text); err != nil {
		return atLine(node, "%w", err)
	}
	return nil
}

// String returns the address as it was written.
func (a Address) String() string { return a.text }

// IsZero reports whether there is no address.
func (a Address) IsZero() bool { return a.text == "" }

// IsBelowBase reports whether the address is a path of the provider's API.
func (a Address) IsBelowBase() bool { return !a.IsZero() && a.origin == "" }

func parseAddress(text string) (Address, error) {
	a := Address{text: text}
	path := text
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		host, tail, _ := strings.Cut(rest, "/")
		a.origin, path = scheme+"://"+host, "/"+tail
		if err := checkOrigin(a.origin); err != nil {
			return Address{}, err
		}
	} else if !strings.HasPrefix(text, "/") {
		return Address{}, errors.New("must begin with https://, or with / below the base URL")
	}
	if path == "/" {
		return Address{}, errors.New("needs a path")
	}
	path, a.slash = strings.CutSuffix(path, "/")
	var err error
	if a.path, err = parseTemplate(path); err != nil {
		return Address{}, err
	}
	if a.segments, err = compilePath(a.path); err != nil {
		return Address{}, err
	}
	return a, nil
}

// checkOrigin judges scheme and host: https but for this computer.
func checkOrigin(origin string) error {
	u, err := parseBase(origin)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return errors.New("must begin with https://")
	}
	return nil
}

// Resolve makes the URL of an address of a, with value for the fields of its
// path. An *events.Error with code invalid_params says which field is missing or
// cannot stand in a path; any other error is a mistake in a URL of app.
func (a *Auth) Resolve(at Address, app App, value func(field string) (string, bool)) (*url.URL, error) {
	base := cmp.Or(app.AuthBaseURL, at.origin)
	if at.IsBelowBase() {
		var err error
		if base, err = fillBase(cmp.Or(app.BaseURL, a.pack.HTTP.BaseURL), value); err != nil {
			return nil, err
		}
	}
	u, err := parseBase(strings.TrimRight(base, "/"))
	if err != nil {
		return nil, err
	}
	whole := *u
	whole.RawPath = u.EscapedPath()
	for _, s := range at.segments {
		text, err := s.fill(value)
		if err != nil {
			return nil, err
		}
		whole.RawPath += "/" + text
	}
	if at.slash {
		whole.RawPath += "/"
	}
	whole.Path, err = url.PathUnescape(whole.RawPath)
	return &whole, err
}
