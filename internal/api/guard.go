package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Guard lets a request through to routes that shows the API key and says each
// thing once. An empty key lets none through.
func Guard(apiKey providers.Secret, routes *http.ServeMux) http.Handler {
	key := apiKey.Reveal()
	want := sha256.Sum256(key)
	clear(key)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		shown := bearer(r)
		got := sha256.Sum256([]byte(shown))
		if shown == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="plugfn"`)
			(&Problem{Status: http.StatusUnauthorized, Detail: "the API key is missing or wrong: Authorization: Bearer <key>"}).Write(w)
			return
		}
		handler, pattern := routes.Handler(r)
		if pattern == "" {
			refuseRoute(w, r, handler)
			return
		}
		parameters, fault := checkQuery(r.URL.RawQuery)
		if fault != nil {
			New(fault.Code.Meaning().Status, fault.Code, fault.Message).Write(w)
			return
		}
		r.URL.RawQuery = parameters.Encode() // one reading of it, whoever parses it
		routes.ServeHTTP(w, r)
	})
}

func bearer(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

// checkQuery refuses a query that could be read in two ways. In particular an
// empty user_id does not mean every user: it is what a program sends that has
// lost the user on the way.
func checkQuery(raw string) (url.Values, *events.Error) {
	parameters, err := url.ParseQuery(raw)
	if err != nil {
		return nil, events.Errorf(events.CodeInvalidParams, "the query is not well-formed: escape what stands in its values")
	}
	for name, values := range parameters {
		switch {
		case len(values) > 1:
			return nil, events.Errorf(events.CodeInvalidParams, "%s: is given more than once", Clip(name))
		case values[0] == "":
			return nil, events.Errorf(events.CodeInvalidParams, "%s: is empty: give a value or leave it out", Clip(name))
		}
	}
	return parameters, nil
}

// refuseRoute answers for a path or a method that there is none of.
func refuseRoute(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	answer := headerOnly{header: http.Header{}, status: http.StatusOK}
	handler.ServeHTTP(&answer, r)
	if allow := answer.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
	}
	(&Problem{Status: answer.status, Detail: "there is no such route: see " + PathOpenAPI}).Write(w)
}

// headerOnly takes an answer without its body.
type headerOnly struct {
	header http.Header
	status int
}

func (a *headerOnly) Header() http.Header            { return a.header }
func (a *headerOnly) WriteHeader(status int)         { a.status = status }
func (a *headerOnly) Write(body []byte) (int, error) { return len(body), nil }
