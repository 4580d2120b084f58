package sandbox

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	accessPrefix  = "sbx_at_"
	refreshPrefix = "sbx_rt_"

	accessLife = time.Hour
)

// family is what came of one consent. Its tokens say by themselves which family
// and which generation they are of, so that those of a former run still work.
type family struct {
	generation int // of the newest refresh token
	revoked    bool
}

// token answers a request for a token.
func (s *authority) token(auth *providers.Auth, r *asked) *answer {
	if auth.Token.ClientAuth != providers.ClientAuthNone || auth.Type == providers.AuthOAuth2 {
		if _, ok := r.client(auth.Token.ClientAuth); !ok {
			return protocolError(http.StatusUnauthorized, "invalid_client")
		}
	}
	switch r.form.Get("grant_type") {
	case "authorization_code":
		return s.exchange(auth, r)
	case "refresh_token":
		return s.refresh(auth, r.form.Get("refresh_token"))
	case "urn:ietf:params:oauth:grant-type:device_code":
		return s.pollDevice(auth, r)
	}
	if !auth.Type.Mints() {
		return protocolError(http.StatusBadRequest, "unsupported_grant_type")
	}
	return s.issue(auth, rand.Text(), 0, scopesOf(auth, r.form))
}

// exchange takes a code, once.
func (s *authority) exchange(auth *providers.Auth, r *asked) *answer {
	code := r.form.Get("code")
	c := s.codes[code]
	delete(s.codes, code)
	client, _ := r.client(auth.Token.ClientAuth)
	if c == nil || c.client != client || c.redirectURI != r.form.Get("redirect_uri") || !c.isVerified(r.form.Get("code_verifier")) {
		return protocolError(http.StatusBadRequest, "invalid_grant")
	}
	return s.issue(s.block(c.auth, auth), rand.Text(), 1, c.scopes)
}

// block returns the auth block that a consent was given for: several may share
// the endpoint where it is traded.
func (s *authority) block(id string, otherwise *providers.Auth) *providers.Auth {
	if auth, ok := s.pack.AuthByID(id); ok {
		return auth
	}
	return otherwise
}

// refresh takes a refresh token, once: a second use of one ends its family.
func (s *authority) refresh(auth *providers.Auth, token string) *answer {
	id, generation, ok := readToken(token, refreshPrefix)
	if !ok {
		return protocolError(http.StatusBadRequest, "invalid_grant")
	}
	f := s.family(id, generation)
	if f.revoked || generation != f.generation {
		f.revoked = true
		return protocolError(http.StatusBadRequest, "invalid_grant")
	}
	f.generation++
	return s.issue(auth, id, f.generation, nil)
}

// family returns the family of an id. One that is not known is from before the
// start, and believed.
func (s *authority) family(id string, generation int) *family {
	f := s.families[id]
	if f == nil {
		f = &family{generation: generation}
		s.families[id] = f
	}
	return f
}

// issue answers with tokens, in the places where the pack looks for them.
// Generation 0 has no refresh token.
func (s *authority) issue(auth *providers.Auth, id string, generation int, scopes []string) *answer {
	body := map[string]any{"ok": true, "token_type": "bearer"}
	expires := s.now().Add(accessLife)
	put := func(at providers.Sources, value any) {
		if len(at) > 0 {
			place(body, at[0], value)
		}
	}
	put(auth.Extract.AccessToken, accessPrefix+strings.Join([]string{id, strconv.Itoa(generation), strconv.FormatInt(expires.Unix(), 10)}, "_"))
	if len(auth.Extract.ExpiresAt) > 0 {
		put(auth.Extract.ExpiresAt, expires.UTC().Format(time.RFC3339))
	} else {
		put(auth.Extract.ExpiresIn, int(accessLife.Seconds()))
	}
	if generation > 0 {
		s.family(id, generation)
		put(auth.Extract.RefreshToken, refreshPrefix+id+"_"+strconv.Itoa(generation))
	}
	if scopes != nil {
		separator := " "
		if auth.Authorize != nil {
			separator = auth.Authorize.Scope.Separator
		}
		put(auth.Extract.Scope, strings.Join(scopes, separator))
	}
	if auth.Identity != nil && auth.Identity.Request == nil {
		s.putAccount(body, auth.Identity)
	}
	return object(http.StatusOK, body)
}

func object(status int, body map[string]any) *answer {
	raw, err := encode(body)
	if err != nil {
		return say(http.StatusInternalServerError, "the answer cannot be written")
	}
	return &answer{status: status, header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, body: raw}
}

// readToken parts a token into its family and its generation.
func readToken(token, prefix string) (id string, generation int, ok bool) {
	rest, ok := strings.CutPrefix(token, prefix)
	parts := strings.Split(rest, "_")
	if !ok || len(parts) < 2 || len(rest) > 100 || parts[0] == "" {
		return "", 0, false
	}
	generation, err := strconv.Atoi(parts[1])
	return parts[0], generation, err == nil && generation >= 0
}

// isDead reports whether a credential is an access token of this sandbox that
// is no longer good. Any other credential will do.
func (s *authority) isDead(token string) bool {
	id, _, ok := readToken(token, accessPrefix)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.families[id]
	until, err := strconv.ParseInt(token[strings.LastIndexByte(token, '_')+1:], 10, 64)
	return f != nil && f.revoked || err != nil || s.now().Unix() >= until
}

// revoke ends the families of all tokens in the request, and says so in the way
// that the pack takes for a success.
func (s *authority) revoke(auth *providers.Auth, r *asked) *answer {
	given := []string{strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	for _, values := range r.form {
		given = append(given, values...)
	}
	for _, token := range given {
		for _, prefix := range []string{accessPrefix, refreshPrefix} {
			if id, generation, ok := readToken(token, prefix); ok {
				s.family(id, generation).revoked = true
			}
		}
	}
	candidates := []*answer{object(http.StatusOK, map[string]any{"ok": true}), {status: http.StatusNoContent, header: http.Header{}}}
	i := slices.IndexFunc(candidates, func(a *answer) bool {
		body, _ := decode(a.body)
		return auth.Revoke.Success.Holds(a.status, a.header, body)
	})
	return candidates[max(i, 0)]
}
