package providers

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// Credential authorises one request.
type Credential struct {
	Auth   string            // id of the pack's auth block; "" for the default one
	Token  Secret            // {{credential.token}}: an access token or an API key
	Fields map[string]Secret // {{credential.NAME}}: the other parts, such as username and password; nil: none

	ConnectionID string // of the connection that it belongs to; "" for none
	Account      string // that the connection is for, as the provider calls it; "" for not known
	Version      int    // of the connection's credentials, from 1; 0 for none
}

// Field returns what {{credential.NAME}} stands for; false when the credential
// has none of it.
func (c Credential) Field(name string) (Secret, bool) {
	s := c.Fields[name]
	if name == "token" && !c.Token.IsZero() {
		s = c.Token
	}
	return s, !s.IsZero()
}

// apply puts the credential on a request. Its errors are *events.Error with code
// needs_reauth and quote nothing of it.
func (a *Auth) apply(cred Credential, u *url.URL, header http.Header) error {
	if a.Type == AuthNone {
		return nil
	}
	if missing := a.missing(cred); missing != "" {
		return reauth("the connection has no " + missing)
	}
	value := func(field string) (string, bool) {
		s, ok := cred.Field(strings.TrimPrefix(field, "credential."))
		return string(s.peek()), ok
	}
	switch applied, _ := a.Apply.Value.expand(value); {
	case a.Apply.Basic != nil:
		return a.Apply.Basic.apply(value, header)
	case a.Apply.Query != "":
		query := u.Query()
		query.Set(a.Apply.Query, applied)
		u.RawQuery = query.Encode()
	case !isFieldValue(applied):
		return reauth("the credential holds a control character")
	default:
		header.Set(a.Apply.Header, applied)
	}
	return nil
}

// missing names a part that a request needs and the credential lacks; "" if
// there is none.
func (a *Auth) missing(cred Credential) string {
	for _, field := range a.Apply.fields() {
		name := strings.TrimPrefix(field, "credential.")
		if _, ok := cred.Field(name); ok {
			continue
		}
		if name == "token" {
			return "credential"
		}
		return name
	}
	return ""
}

func (b *BasicAuth) apply(value func(string) (string, bool), header http.Header) error {
	username, _ := b.Username.expand(value)
	password, _ := b.Password.expand(value)
	switch {
	case strings.Contains(username, ":"):
		return reauth("the user name holds a colon, which basic authentication cannot carry")
	case !isFieldValue(username + password):
		return reauth("the credential holds a control character")
	}
	r := http.Request{Header: header}
	r.SetBasicAuth(username, password)
	return nil
}

func reauth(why string) error {
	return events.Errorf(events.CodeNeedsReauth, "%s; connect the account again", why)
}

// fields lists the fields of all templates.
func (a *Apply) fields() []string {
	fields := a.Value.fields()
	if a.Basic != nil {
		fields = slices.Concat(fields, a.Basic.Username.fields(), a.Basic.Password.fields())
	}
	return fields
}

// fieldsOf lists the fields of all templates of a map.
func fieldsOf(templates map[string]Template) []string {
	var fields []string
	for _, t := range templates {
		fields = append(fields, t.fields()...)
	}
	return fields
}
