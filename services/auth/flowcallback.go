package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

const (
	maxCallback = 16 << 10 // bytes of a query

	// Each step of connecting ends within its own time: a grant that was got is
	// not lost because the step before took long.
	identityTimeout = 8 * time.Second
	keepTimeout     = 10 * time.Second
	identityTries   = 3
	identityPause   = 300 * time.Millisecond
)

// serveCallback answers GET /oauth/callback/{provider}, to which a provider
// sends a browser back.
func (f *flows) serveCallback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // not even HEAD: the state is for one use
		f.refuseMethod(w, http.MethodGet)
		return
	}
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	default:
		w.Header().Set("Retry-After", "2")
		f.pages.write(w, busyPage())
		return
	}
	// Who closes the window has consented all the same.
	attempt, fault := f.comeBack(context.WithoutCancel(r.Context()), r)
	if fault != nil {
		f.pages.write(w, fault.page())
		return
	}
	f.end(w, attempt)
}

// end shows how an attempt ended, or sends the browser back to the application.
func (f *flows) end(w http.ResponseWriter, attempt *flow) {
	if attempt.ReturnTo == "" {
		f.pages.write(w, f.endPage(attempt, ""))
		return
	}
	target, err := withParams(attempt.ReturnTo, attempt.params())
	if err != nil { // it was checked at the start
		f.pages.write(w, f.endPage(attempt, ""))
		return
	}
	leave(w, target)
}

// params is what the application learns with the browser. It proves nothing: who
// wants to be sure asks the API for the connection.
func (f *flow) params() url.Values {
	params := url.Values{"plugfn_status": {string(f.Status)}, "plugfn_provider": {f.Provider}}
	if f.Connected != "" {
		params.Set("plugfn_connection", f.Connected)
	}
	if f.Outcome != nil {
		params.Set("plugfn_error", string(f.Outcome.Code))
		if f.Outcome.ProviderCode != "" {
			params.Set("plugfn_reason", f.Outcome.ProviderCode)
		}
	}
	return params
}

// comeBack finishes the attempt that a callback belongs to. Where there is none
// that it may belong to, a dead end says why; nothing is changed then.
func (f *flows) comeBack(ctx context.Context, r *http.Request) (*flow, *deadEnd) {
	query, ok := parseCallback(r.URL.RawQuery)
	if !ok {
		return nil, badLink()
	}
	attempt, revision, err := f.states.flow(ctx, browserFlow+digest(query.Get("state")))
	switch {
	case errors.Is(err, errGone):
		return nil, staleLink()
	case err != nil:
		return nil, f.trouble(err)
	case attempt.Provider != r.PathValue("provider"):
		return nil, badLink()
	case attempt.Status != flowPending:
		return nil, staleLink()
	case !f.sameBrowser(r, attempt.Cookie):
		return nil, otherBrowser()
	}
	// From here on the state is used up: of two callbacks one gets through.
	attempt.Status = flowTaken
	revision, err = f.states.put(ctx, attempt, revision)
	if errors.Is(err, errTaken) {
		return nil, staleLink()
	}
	if err != nil {
		return nil, f.trouble(err)
	}
	connected, missing, err := f.finish(ctx, &attempt, query)
	f.conclude(ctx, &attempt, revision, connected, missing, err)
	return &attempt, nil
}

// parseCallback reads a query of which each part means one thing.
func parseCallback(raw string) (url.Values, bool) {
	query, err := url.ParseQuery(raw)
	if err != nil || len(raw) > maxCallback || !isDigest(query.Get("state")) {
		return nil, false
	}
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(query[name]) > 1 {
			return nil, false
		}
	}
	return query, true
}

// sameBrowser reports whether the browser is the one that the attempt was begun
// with, as far as that was noted.
func (f *flows) sameBrowser(r *http.Request, want string) bool {
	if want == "" {
		return true
	}
	cookie, err := r.Cookie(f.cookieName())
	return err == nil && subtle.ConstantTimeCompare([]byte(digest(cookie.Value)), []byte(want)) == 1
}

// finish exchanges the code and keeps what it gives.
func (f *flows) finish(ctx context.Context, attempt *flow, query url.Values) (connected string, missing []string, err error) {
	auth, app, err := f.parts(ctx, attempt)
	if err != nil {
		return "", nil, err
	}
	if !isIssuer(auth, app, query.Get("iss")) {
		f.log.Warn().Str("provider", attempt.Provider).Str("flow", attempt.ID).Msg("callback names another issuer")
		return "", nil, events.Errorf(events.CodeProviderRejected, "the callback is not from the provider that was asked")
	}
	code, err := oauth.Callback(auth, query)
	if err != nil {
		return "", nil, err
	}
	verifier, err := f.states.open(attempt, fieldVerifier, attempt.Verifier)
	if err != nil {
		return "", nil, err
	}
	grant, err := f.oauth.Exchange(ctx, auth, app, oauth.ExchangeInput{
		Code: code, Verifier: verifier, RedirectURI: attempt.RedirectURI, Scopes: attempt.Scopes,
	})
	if err != nil {
		return "", nil, err
	}
	return f.keep(ctx, attempt, auth, app, grant)
}

// parts returns what an attempt was begun with.
func (f *flows) parts(ctx context.Context, attempt *flow) (*providers.Auth, providers.App, error) {
	pack, ok := f.providers.Pack(attempt.Provider)
	if !ok {
		return nil, providers.App{}, unknownProvider(f.providers, attempt.Provider)
	}
	auth, ok := pack.AuthByID(attempt.Auth)
	if !ok {
		return nil, providers.App{}, invalid("auth", "provider %s has no %s any more", pack.Name, quote(attempt.Auth))
	}
	app, err := f.apps.minted(ctx, attempt.Provider, attempt.UserID, attempt.App)
	if err == nil && app.ClientID == "" {
		err = invalid("provider", "the OAuth client of %s was removed meanwhile; start again", pack.Name)
	}
	return auth, app, err
}

// isIssuer judges the iss of a callback, where it has one (RFC 9207): it is the
// pack's, or at least of the host that the user was sent to.
func isIssuer(auth *providers.Auth, app providers.App, issuer string) bool {
	if issuer == "" || auth.Authorize == nil {
		return true
	}
	if auth.Authorize.Issuer != "" && app.AuthBaseURL == "" {
		return issuer == auth.Authorize.Issuer
	}
	at, err := auth.Resolve(auth.Authorize.URL, app, func(string) (string, bool) { return "x", true })
	said, saidErr := url.Parse(issuer)
	return err == nil && saidErr == nil && said.Scheme == at.Scheme && strings.EqualFold(said.Host, at.Host)
}

// keep finds out whose account a grant is for and makes the connection of it.
func (f *flows) keep(ctx context.Context, attempt *flow, auth *providers.Auth, app providers.App, grant *oauth.Grant) (connected string, missing []string, err error) {
	account := oauth.Account{ID: grant.Account, Label: grant.Label}
	if account.ID == "" {
		account, err = f.identify(ctx, attempt.Provider, auth, app, grant.AccessToken)
		if err != nil {
			return "", nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	c, err := f.store.connect(actingAs(ctx, actorBrowser), grantInput{
		UserID: attempt.UserID, Provider: attempt.Provider, Auth: auth.ID, App: attempt.App, Name: attempt.Name,
		ConnectionID: attempt.Reconnect,
		Credential: minted{
			secrets:   secrets{AccessToken: grant.AccessToken, RefreshToken: grant.RefreshToken},
			ExpiresAt: grant.ExpiresAt, RefreshExpiresAt: grant.RefreshExpiresAt,
			Scopes: grant.Scopes, Missing: grant.Missing, Account: account.ID, Label: account.Label,
		},
	})
	if err != nil {
		return "", nil, err
	}
	return c.ID, c.MissingScopes, nil
}

// identify asks whose account it is. A provider that cannot be asked is asked
// again: the code is spent, and the user would have to start anew. One that does
// not want to tell, as with a permission that was not given, leaves the account
// unknown.
func (f *flows) identify(ctx context.Context, provider string, auth *providers.Auth, app providers.App, token providers.Secret) (oauth.Account, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), identityTimeout)
	defer cancel()
	for try := 1; ; try++ {
		account, err := f.oauth.Identity(ctx, auth, app, providers.Credential{Auth: auth.ID, Token: token})
		var failure *oauth.Failure
		if err == nil || !errors.As(err, &failure) {
			return account, err
		}
		refused := failure.Status >= 400 && failure.Status < 500 && failure.Status != http.StatusTooManyRequests && failure.Status != http.StatusRequestTimeout
		switch {
		case failure.Class == oauth.Dead:
			return account, err
		case refused:
			f.report(provider, failure)
			return oauth.Account{}, nil
		case try == identityTries || ctx.Err() != nil:
			return account, err
		}
		sleep(ctx, identityPause*time.Duration(try))
	}
}

// conclude notes how an attempt ended. That it cannot be noted undoes nothing.
func (f *flows) conclude(ctx context.Context, attempt *flow, revision uint64, connected string, missing []string, err error) {
	attempt.Verifier, attempt.Device = nil, nil
	attempt.ExpiresAt = f.now().Add(outcomeTTL).UTC()
	attempt.Connected, attempt.Missing = connected, slices.Clone(missing)
	attempt.Status = flowConnected
	if err != nil {
		attempt.Status, attempt.Outcome = flowFailed, f.outcome(attempt, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	if _, err := f.states.put(ctx, *attempt, revision); err != nil {
		f.log.Error().Err(err).Str("flow", attempt.ID).Msg("outcome of a flow not noted")
	}
}

// outcome is what the world learns of an error, and the log of its cause.
func (f *flows) outcome(attempt *flow, err error) *events.Error {
	var failure *oauth.Failure
	var e *events.Error
	switch {
	case errors.As(err, &failure):
		f.report(attempt.Provider, failure)
		return outcomeOf(failure)
	case errors.As(err, &e):
		return e
	}
	e = events.Errorf(events.CodeInternal, "PlugFn failed; start again, the log has the cause under the request_id")
	e.RequestID = id.New("req")
	f.log.Error().Err(err).Str("request", e.RequestID).Str("flow", attempt.ID).Msg("account not connected")
	return e
}
