package sandbox

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

//go:embed pages
var pageFiles embed.FS

// consent is what a user agreed to.
type consent struct {
	auth, client, redirectURI, challenge string
	scopes                               []string
	until                                time.Time
}

// authorize is where the user gives consent: on a page with a button, or at once
// with approve=1 (approve=0 refuses). grant, given several times, narrows the
// scopes that are granted.
func (s *authority) authorize(auth *providers.Auth, r *asked) *answer {
	q := r.form
	target, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" || q.Get("client_id") == "" {
		return s.page(http.StatusBadRequest, sheet{Title: "This link is not right", Text: "The client_id or the redirect_uri is missing."})
	}
	back := url.Values{"state": {q.Get("state")}}
	if auth.Authorize.Issuer != "" {
		back.Set("iss", auth.Authorize.Issuer)
	}
	switch {
	case q.Get("response_type") != "code":
		back.Set("error", "unsupported_response_type")
	case auth.Authorize.WithoutPKCE == "" && (q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256"):
		back.Set("error", "invalid_request")
	case q.Get("approve") == "0":
		back.Set("error", "access_denied")
	case q.Get("approve") == "1":
		back.Set("code", s.newCode(auth, q))
	default:
		return s.page(http.StatusOK, sheet{
			Title: "Let " + q.Get("client_id") + " use your account?",
			Form:  &form{Action: r.URL.EscapedPath(), Hidden: hidden(q), Scopes: scopesOf(auth, q)},
		})
	}
	target.RawQuery = strings.TrimPrefix(target.RawQuery+"&"+back.Encode(), "&")
	return &answer{status: http.StatusFound, header: http.Header{"Location": {target.String()}, "Referrer-Policy": {"no-referrer"}}}
}

func (s *authority) newCode(auth *providers.Auth, q url.Values) string {
	code := "sbx_code_" + rand.Text()
	s.codes[code] = &consent{
		auth: auth.ID, client: q.Get("client_id"), redirectURI: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
		scopes: granted(auth, q), until: s.now().Add(codeLife),
	}
	return code
}

// scopesOf lists what is asked for.
func scopesOf(auth *providers.Auth, q url.Values) []string {
	param, separator := "scope", " "
	if auth.Authorize != nil {
		param, separator = auth.Authorize.Scope.Param, auth.Authorize.Scope.Separator
	}
	return strings.FieldsFunc(q.Get(param), func(c rune) bool { return strings.ContainsRune(separator, c) })
}

// granted lists what of it is granted: all, unless grant says otherwise.
func granted(auth *providers.Auth, q url.Values) []string {
	scopes := scopesOf(auth, q)
	if !q.Has("grant") {
		return scopes
	}
	return slices.DeleteFunc(scopes, func(scope string) bool { return !slices.Contains(q["grant"], scope) })
}

// isVerified checks the code_verifier of a consent.
func (c *consent) isVerified(verifier string) bool {
	if c.challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == c.challenge
}

// sheet is a page of the sandbox.
type sheet struct {
	Provider, Title, Text string
	Style                 template.CSS
	Form                  *form
}

// form asks for a decision.
type form struct {
	Action  string
	Hidden  []pair
	Scopes  []string
	AskCode bool
}

type pair struct{ Name, Value string }

// hidden takes the parameters of a request along.
func hidden(q url.Values) []pair {
	var pairs []pair
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if name != "approve" && name != "grant" {
			pairs = append(pairs, pair{name, q.Get(name)})
		}
	}
	return pairs
}

// page renders a sheet.
func (s *authority) page(status int, sh sheet) *answer {
	style, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		return say(http.StatusInternalServerError, "the page cannot be read")
	}
	sh.Style = template.CSS(style) //nolint:gosec // our own file
	if sh.Provider = s.pack.Display.Name; sh.Provider == "" {
		sh.Provider = s.pack.Name
	}
	t, err := template.ParseFS(pageFiles, "pages/consent.html")
	var text bytes.Buffer
	if err == nil {
		err = t.Execute(&text, sh)
	}
	if err != nil {
		return say(http.StatusInternalServerError, "the page cannot be shown")
	}
	sum := sha256.Sum256(style)
	return &answer{status: status, body: text.Bytes(), header: http.Header{
		"Content-Type":    {"text/html; charset=utf-8"},
		"Cache-Control":   {"no-store"},
		"Referrer-Policy": {"no-referrer"},
		"Content-Security-Policy": {
			"default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
		},
	}}
}
