package sandbox

import (
	"net/http"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// bearer is one way in which a request may bear a credential. The zero value
// asks for none.
type bearer struct {
	header, query  string // where it is: one of both
	prefix, suffix string // around it
}

func bearersOf(pack *providers.Pack) []bearer {
	var all []bearer
	for _, auth := range pack.Auth {
		b := bearer{header: auth.Apply.Header, query: auth.Apply.Query}
		b.prefix, b.suffix, _ = around(auth.Apply.Value.String())
		if auth.Apply.Basic != nil {
			b = bearer{header: "Authorization", prefix: "Basic "}
		}
		all = append(all, b)
	}
	return all
}

// around returns what a template has before its first field and after its
// last, and what is between: the inside of the field if it is the only one.
func around(template string) (prefix, suffix, inside string) {
	prefix, inside, found := strings.Cut(template, "{{")
	if !found {
		return prefix, "", ""
	}
	end := strings.LastIndex(inside, "}}")
	return prefix, inside[end+len("}}"):], inside[:end]
}

// in returns the credential that r bears, whichever it is. It reports false when
// there is none.
func (b bearer) in(r *http.Request) (credential string, ok bool) {
	var value string
	switch {
	case b.header != "":
		value = r.Header.Get(b.header)
	case b.query != "":
		value = r.URL.Query().Get(b.query)
	default:
		return "", true
	}
	if len(value) <= len(b.prefix)+len(b.suffix) || !strings.HasPrefix(value, b.prefix) || !strings.HasSuffix(value, b.suffix) {
		return "", false
	}
	return value[len(b.prefix) : len(value)-len(b.suffix)], true
}
