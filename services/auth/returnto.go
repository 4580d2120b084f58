package auth

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// maxReturnTo bounds an address that a browser is sent back to, in bytes.
const maxReturnTo = 2048

// returnList is where browsers may be sent after an attempt to connect: the
// operator's list, and nothing that a request could add to.
type returnList []returnPlace

// returnPlace is an origin and a path; what is below the path belongs to it.
type returnPlace struct {
	origin string
	path   string // without the slash at its end
}

// newReturnList reads entries such as https://app.example.com/settings.
func newReturnList(entries []string) (returnList, error) {
	var list returnList
	for _, entry := range entries {
		u, err := parseReturnTo(entry)
		switch {
		case err != nil:
			return nil, fmt.Errorf("auth: ReturnTo %s: %w", quote(entry), err)
		case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
			return nil, fmt.Errorf("auth: ReturnTo %s: is an origin or an origin and a path, without a query", quote(entry))
		case strings.Contains(u.Host, "*"):
			return nil, fmt.Errorf("auth: ReturnTo %s: a host is written out, there are no wildcards", quote(entry))
		}
		list = append(list, returnPlace{origin: originOf(u), path: strings.TrimRight(u.EscapedPath(), "/")})
	}
	return list, nil
}

// check returns an *events.Error unless target is below a place of the list. An
// empty target is none.
func (l returnList) check(target string) error {
	if target == "" {
		return nil
	}
	u, err := parseReturnTo(target)
	if err != nil {
		return invalid("return_to", "%v", err)
	}
	for _, place := range l {
		rest, below := strings.CutPrefix(u.EscapedPath(), place.path)
		if originOf(u) == place.origin && below && (rest == "" || rest[0] == '/') {
			return nil
		}
	}
	return invalid("return_to", "%s is not on the operator's list of places to return to: add it to PLUGFN_RETURN_TO", quote(originOf(u)))
}

// parseReturnTo reads an address that every browser reads in the same way.
func parseReturnTo(text string) (*url.URL, error) {
	if len(text) > maxReturnTo {
		return nil, fmt.Errorf("is longer than %d bytes", maxReturnTo)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return nil, errors.New("holds a space, a backslash or another character that no address has: escape it")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("must be a whole address, such as https://app.example.com/settings")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, errors.New("must begin with https://, or with http:// and this computer")
	case u.User != nil:
		return nil, errors.New("must not hold a user or a password")
	}
	for segment := range strings.SplitSeq(u.EscapedPath(), "/") {
		if plain, err := url.PathUnescape(segment); err != nil || plain == "." || plain == ".." || strings.ContainsAny(plain, `/\`) {
			return nil, errors.New("has a path with . or .. or an escaped slash in it")
		}
	}
	return u, nil
}

// originOf is scheme, host and port, in the one way to write them.
func originOf(u *url.URL) string {
	usual := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), cmp.Or(u.Port(), usual))
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// withParams adds parameters to the query of an address that was checked.
func withParams(target string, params url.Values) (string, error) {
	u, err := parseReturnTo(target)
	if err != nil {
		return "", err
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += params.Encode()
	return u.String(), nil
}
