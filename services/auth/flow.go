package auth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

const (
	pathCallback = "/oauth/callback/"
	pathConnect  = "/connect/"
)

func errNoPublicURL() *events.Error {
	return invalid("provider", "no browser can be sent back here: the operator has to set PLUGFN_PUBLIC_URL")
}

// flows connects accounts with the user's consent: through a browser, on another
// device, or with what he enters into a form.
type flows struct {
	store     *store
	states    *states
	apps      *apps
	oauth     *oauth.Client
	providers *providers.Registry
	public    *url.URL // of PlugFn, as browsers and providers know it; nil: not known
	returns   returnList
	pages     *pages
	devices   *devices
	create    func(context.Context, newConnection) (connection, error) // of a credential that the user has
	places    chan struct{}                                            // one each request that asks a provider
	log       zerolog.Logger
	now       func() time.Time
}

// parsePublicURL reads where browsers reach PlugFn: an origin, perhaps with a
// path in front of all routes. It is nil for "".
func parsePublicURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("auth: PublicURL must be a URL such as https://plugfn.example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("auth: PublicURL must have no user, query or fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("auth: PublicURL must begin with https://: codes and cookies go there; only this computer is reached with http://")
	}
	return u, nil
}

// redirectURI is where a provider sends browsers back to. It depends on nothing
// but the operator's settings, and each provider has its own.
func (f *flows) redirectURI(provider string) string {
	if f.public == nil {
		return ""
	}
	return f.public.String() + pathCallback + provider
}

// startInput asks for an attempt to connect an account.
type startInput struct {
	UserID, Provider string

	Auth      string   // id of the pack's auth block; "": the first one that fits
	Scopes    []string // nil: the pack's own
	Name      string
	Reconnect string // id of the connection that gets a new credential; "": a new one
	ReturnTo  string
	LoginHint string
	Cookie    string // digest of the nonce in the browser's cookie; "": any browser
}

// started is an attempt on its way.
type started struct {
	ID, State, URL string
	ExpiresAt      time.Time
}

// start begins an attempt through a browser.
func (f *flows) start(ctx context.Context, in startInput) (started, error) {
	plan, err := f.plan(ctx, in, func(a *providers.Auth) bool { return a.Authorize != nil })
	if err != nil {
		return started{}, err
	}
	if f.public == nil {
		return started{}, errNoPublicURL()
	}
	state, id := newToken()
	attempt := plan.flow(browserFlow+id, f.now().Add(flowTTL).UTC())
	attempt.Cookie, attempt.RedirectURI = in.Cookie, f.redirectURI(in.Provider)
	var verifier providers.Secret
	if plan.auth.Authorize.WithoutPKCE == "" {
		verifier = oauth.NewVerifier()
		if attempt.Verifier, err = f.states.seal(&attempt, fieldVerifier, verifier); err != nil {
			return started{}, err
		}
	}
	target, err := oauth.AuthorizeURL(plan.auth, plan.app, oauth.AuthorizeInput{
		RedirectURI: attempt.RedirectURI, State: state, Verifier: verifier, Scopes: in.Scopes, LoginHint: in.LoginHint,
	})
	if err != nil {
		return started{}, f.failed(plan, err)
	}
	if _, err := f.states.put(ctx, attempt, 0); err != nil {
		return started{}, err
	}
	return started{ID: attempt.ID, State: state, URL: target, ExpiresAt: attempt.ExpiresAt}, nil
}

// plan is an attempt that was checked.
type plan struct {
	startInput
	auth *providers.Auth
	app  providers.App
}

func (p *plan) flow(id string, expires time.Time) flow {
	scopes := p.Scopes
	if scopes == nil {
		scopes = p.auth.DefaultScopes
	}
	return flow{
		ID: id, UserID: p.UserID, Provider: p.Provider, Auth: p.auth.ID, App: p.app.ClientID, Scopes: scopes, Name: p.Name,
		Reconnect: p.Reconnect, ReturnTo: p.ReturnTo, ExpiresAt: expires, Status: flowPending,
	}
}

// plan checks what is asked for, before anybody is sent anywhere. fits says
// which ways of OAuth 2.0 will do.
func (f *flows) plan(ctx context.Context, in startInput, fits func(*providers.Auth) bool) (*plan, error) {
	pack, ok := f.providers.Pack(in.Provider)
	if !ok {
		return nil, unknownProvider(f.providers, in.Provider)
	}
	if err := checkOwner(in.UserID, in.Name); err != nil {
		return nil, err
	}
	if err := f.returns.check(in.ReturnTo); err != nil {
		return nil, err
	}
	if err := f.checkReconnect(ctx, &in); err != nil {
		return nil, err
	}
	auth, err := pickFlowAuth(pack, in.Auth, fits)
	if err != nil {
		return nil, err
	}
	app, err := f.apps.pick(ctx, in.Provider, in.UserID)
	if err != nil {
		return nil, err
	}
	if app.ClientID == "" {
		return nil, invalid("provider", "no OAuth client of yours is set for %s: plugfn app set %s", pack.Name, pack.Name)
	}
	return &plan{startInput: in, auth: auth, app: app}, nil
}

// checkReconnect makes sure that there is such a connection of that user to
// that provider, and keeps to the way in which it was made.
func (f *flows) checkReconnect(ctx context.Context, in *startInput) error {
	if in.Reconnect == "" {
		return nil
	}
	entry, err := f.store.find(ctx, in.UserID, in.Reconnect)
	if err != nil {
		return err
	}
	c, err := decodeRecord(entry.Key(), entry.Value())
	if err != nil || c.Provider != in.Provider {
		return errNoConnection(in.Reconnect)
	}
	if in.Auth == "" {
		in.Auth = c.Auth
	}
	return nil
}

// pickFlowAuth returns the auth block that is meant.
func pickFlowAuth(pack *providers.Pack, wanted string, fits func(*providers.Auth) bool) (*providers.Auth, error) {
	var able []string
	for _, auth := range pack.Auth {
		if auth.Type != providers.AuthOAuth2 || !fits(auth) {
			continue
		}
		if wanted == "" || wanted == auth.ID {
			return auth, nil
		}
		able = append(able, auth.ID)
	}
	switch {
	case len(able) > 0:
		return nil, invalid("auth", "%s of provider %s does not work in this way; these do: %s", quote(wanted), pack.Name, strings.Join(able, ", "))
	default:
		return nil, invalid("provider", "%s has no flow of OAuth of this kind; it has: %s", pack.Name, strings.Join(authIDs(pack), ", "))
	}
}

// checkOwner judges whose connection it will be and what it is called.
func checkOwner(user, name string) error {
	switch {
	case user == "":
		return invalid("user_id", "must not be empty: it says whose connection this is")
	case len(user) > maxUser:
		return invalid("user_id", "longer than %d bytes", maxUser)
	case len([]rune(name)) > maxName:
		return invalid("connection_name", "longer than %d characters", maxName)
	case !isPlain(user):
		return invalid("user_id", "must be valid UTF-8 without control characters")
	case !isPlain(name):
		return invalid("connection_name", "must be valid UTF-8 without control characters")
	}
	return nil
}

// failed is what the caller learns of an error of package oauth. What the
// operator has to do goes to the log.
func (f *flows) failed(p *plan, err error) error {
	var failure *oauth.Failure
	if !errors.As(err, &failure) {
		return err
	}
	f.report(p.Provider, failure)
	return outcomeOf(failure)
}

func (f *flows) report(provider string, failure *oauth.Failure) {
	event := f.log.Info()
	if failure.Class == oauth.Misconfigured || failure.Class == oauth.Ambiguous {
		event = f.log.Error()
	}
	event.Str("provider", provider).Str("class", string(failure.Class)).Str("code", failure.Code).
		Int("status", failure.Status).Err(failure).Msg("account not connected")
}

// outcomeOf says in the words of the contract why a provider connected nothing.
func outcomeOf(failure *oauth.Failure) *events.Error {
	said := func(code events.Code, why string) *events.Error {
		e := events.Errorf(code, "%s", why)
		e.ProviderCode, e.Status = failure.Code, failure.Status
		return e
	}
	switch failure.Class {
	case oauth.Denied:
		e := said(events.CodeProviderRejected, "the user did not agree")
		e.ProviderCode = codeDenied
		return e
	case oauth.Misconfigured:
		return said(events.CodeProviderRejected, "the provider refuses the operator's app: "+failure.Error())
	case oauth.Dead, oauth.Pending:
		return said(events.CodeProviderRejected, "the provider does not take the code (any more); start again")
	case oauth.Ambiguous:
		return said(events.CodeOutcomeUnknown, "the provider's answer cannot be read; start again")
	default:
		return said(events.CodeProviderUnavailable, "the provider cannot be asked now; start again later")
	}
}

// codeDenied is what RFC 6749 calls it when the user says no.
const codeDenied = "access_denied"

// seal encrypts a field of an attempt.
func (s *states) seal(f *flow, field string, secret providers.Secret) ([]byte, error) {
	plain := secret.Reveal()
	defer clear(plain)
	sealed, err := s.keys.sealAt(plain, placeOfFlow(f, field))
	if err != nil {
		return nil, fmt.Errorf("keeping the %s: %w", field, err)
	}
	return sealed, nil
}

// open decrypts a field of an attempt, nil for the zero secret.
func (s *states) open(f *flow, field string, sealed []byte) (providers.Secret, error) {
	if sealed == nil {
		return providers.Secret{}, nil
	}
	plain, err := s.keys.openAt(sealed, placeOfFlow(f, field))
	if err != nil {
		return providers.Secret{}, fmt.Errorf("opening the %s of a flow: %w", field, err)
	}
	defer clear(plain)
	return providers.NewSecret(plain), nil
}
