package providers

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// site is where an account of a provider is that gives each its own host: the
// first label of the host is a field of the credential, as in
// https://{{credential.subdomain}}.zendesk.com/api/v2. All else stands in the pack,
// so that a credential leads to no other place.
type site struct {
	field  string // name of the credential's field
	suffix string // of the host, with its dot
	path   string
}

var (
	siteBase  = regexp.MustCompile(`^https://\{\{credential\.([a-z][a-z0-9_]*)\}\}((?:\.[a-z0-9-]+){2,})(/.*)?$`)
	siteLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// parseSite reads a base URL; nil when it is the same for all.
func parseSite(base string) (*site, error) {
	if !strings.Contains(base, "{{") {
		return nil, nil
	}
	parts := siteBase.FindStringSubmatch(base)
	if parts == nil || parts[1] == "token" {
		return nil, errors.New("may hold one field, as the first label of its host: https://{{credential.site}}.example.com/api")
	}
	s := &site{field: parts[1], suffix: parts[2], path: parts[3]}
	if _, err := parseBase(s.at("x")); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *site) at(label string) string { return "https://" + label + s.suffix + s.path }

// fillBase puts the site of a credential into a base URL that has one.
func fillBase(base string, value func(field string) (string, bool)) (string, error) {
	s, err := parseSite(base)
	if err != nil {
		return "", fmt.Errorf("base URL: %w", err)
	}
	if s == nil {
		return base, nil
	}
	label, ok := value("credential." + s.field)
	if !ok {
		return "", reauth("the connection has no " + s.field)
	}
	if err := s.check(label); err != nil {
		return "", reauth(s.field + " of the connection " + err.Error())
	}
	return s.at(label), nil
}

// baseFor is the base URL for requests with a credential.
func baseFor(base string, cred Credential) (string, error) {
	return fillBase(base, func(field string) (string, bool) {
		s, ok := cred.Field(strings.TrimPrefix(field, "credential."))
		return string(s.peek()), ok
	})
}

// check judges what stands for the site. The error quotes nothing of it.
func (s *site) check(label string) error {
	if !siteLabel.MatchString(label) {
		return fmt.Errorf("must be what stands before %s in the account's address, in lower case", s.suffix)
	}
	return nil
}

// holds tells whether a host is one of the provider's sites.
func (s *site) holds(u *url.URL) bool {
	label, ok := strings.CutSuffix(hostOf(u), s.suffix)
	return ok && u.Scheme == "https" && u.User == nil && siteLabel.MatchString(label)
}

// checkSite judges a base URL with a field, by who fills it in.
func (p *Pack) checkSite(r report) {
	s := p.HTTP.site
	if s == nil {
		return
	}
	if p.asksBack() {
		r("http.base_url", "must be the same for all: the provider is asked about deliveries without a credential")
	}
	for i, a := range p.Auth {
		found := false
		for _, f := range a.Fields {
			found = found || f.Name == s.field && f.Public
		}
		if !found {
			r(item("auth", i)+".fields", "needs %s with public: true, which http.base_url has", s.field)
		}
	}
}

// CheckSite judges the fields of a credential by the provider's base URL: where
// each account has a host of its own, the field that names it must be one label.
// The error begins with the name of the field and quotes nothing of it.
func (p *Pack) CheckSite(fields map[string]Secret) (field string, err error) {
	s := p.HTTP.site
	if s == nil {
		return "", nil
	}
	return s.field, s.check(string(fields[s.field].peek()))
}

// BaseURLFor is the pack's base URL for requests with a credential.
func (p *Pack) BaseURLFor(cred Credential) (string, error) { return baseFor(p.HTTP.BaseURL, cred) }
