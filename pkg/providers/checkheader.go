package providers

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
)

// checkHeaderNames judges names that a pack sets itself.
func checkHeaderNames(path string, names iter.Seq[string], r report) {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(names) {
		checkHeaderName(path+"."+name, name, r)
		canonical := http.CanonicalHeaderKey(name)
		if seen[canonical] {
			r(path+"."+name, "is there twice, in another spelling")
		}
		seen[canonical] = true
	}
}

func checkHeaderName(path, name string, r report) {
	if !isFieldName(name) || strings.ContainsAny(name, "!#$%&'*+.^_`|~") {
		r(path, "must be letters, digits and -")
	}
	if why := whyReserved(strings.ToLower(name)); why != "" {
		r(path, "cannot be set: %s", why)
	}
}

// whyReserved says why a pack may not set a header; "" if it may.
func whyReserved(lower string) string {
	switch lower {
	case "authorization", "cookie":
		return "a credential is applied by auth"
	case "idempotency-key", "x-idempotency-key":
		return "net/http would repeat writes that have it"
	case "content-type", "user-agent", "accept-encoding":
		return "PlugFn sets it"
	case "host", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "expect":
		return "it belongs to the connection"
	case "forwarded", "via":
		return "it belongs to proxies"
	}
	for _, prefix := range []string{"proxy-", "x-forwarded-"} {
		if strings.HasPrefix(lower, prefix) {
			return fmt.Sprintf("%s… belongs to proxies", prefix)
		}
	}
	return ""
}
