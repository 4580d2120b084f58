package providers

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// Auth is one way to authorise requests: where its credential comes from, how
// that is kept alive, how a request bears it and how it is given back. The first
// one of a pack is the default. Its zero values are filled in when the pack is
// loaded: what stands here is what counts.
type Auth struct {
	ID       string      `yaml:"id"`
	Type     AuthType    `yaml:"type"`
	Hint     string      `yaml:"hint"`     // where a person finds the credential, or registers the app
	Fields   []AuthField `yaml:"fields"`   // what has to be given to connect; not written: those of the type
	Apply    Apply       `yaml:"apply"`    // not written: Authorization: Bearer with the token; basic: user name and password
	Probe    *AuthCall   `yaml:"probe"`    // succeeds while the credential is good; nil: there is none
	Identity *Identity   `yaml:"identity"` // whose account it is; nil: nobody can tell

	DefaultScopes []string      `yaml:"default_scopes"` // asked for where nobody says which
	Authorize     *Authorize    `yaml:"authorize"`      // where the user is sent to; nil: no such flow
	Device        *Device       `yaml:"device"`         // nil: no device flow
	JWT           *JWT          `yaml:"jwt"`            // the assertion; without a token block it is the access token itself
	Token         *TokenRequest `yaml:"token"`          // where tokens are got
	Extract       Extract       `yaml:"extract"`        // what is read from a token response
	Lifetime      time.Duration `yaml:"lifetime"`       // of an access token whose response does not say; 0: it never expires
	Errors        AuthErrors    `yaml:"errors"`         // what the error codes of the token endpoint mean
	Refresh       Refresh       `yaml:"refresh"`
	Revoke        *Revoke       `yaml:"revoke"` // nil: the provider has no way to give a grant back

	pack *Pack
}

// Pack returns the pack that the auth belongs to.
func (a *Auth) Pack() *Pack { return a.pack }

// AuthType is the kind of a credential.
type AuthType string

// The kinds of credentials.
const (
	AuthAPIKey            AuthType = "api_key"            // one secret: an API key or a personal access token
	AuthBasic             AuthType = "basic"              // user name and password
	AuthOAuth2            AuthType = "oauth2"             // the user consents in the browser or on another device
	AuthClientCredentials AuthType = "client_credentials" // the app gets tokens for itself
	AuthJWT               AuthType = "jwt"                // an assertion signed with a key, as the token or in exchange for one
	AuthGitHubApp         AuthType = "github_app"         // installation tokens, asked for with the app's own key
	AuthNone              AuthType = "none"
)

// Mints reports whether tokens of this type are made from what was given once,
// without a refresh token and without a person.
func (t AuthType) Mints() bool {
	return t == AuthClientCredentials || t == AuthJWT || t == AuthGitHubApp
}

// AuthField is a part of a credential that a person enters. A template names it
// {{credential.NAME}}; the field token is the credential's main secret.
type AuthField struct {
	Name   string `yaml:"name"`
	Label  string `yaml:"label"`
	Help   string `yaml:"help"`
	Public bool   `yaml:"public"` // may be shown; not written: it is a secret
}

// Apply says how a request bears the credential: in one place.
type Apply struct {
	Header string     `yaml:"header"` // name of the header
	Query  string     `yaml:"query"`  // or name of the query parameter
	Value  Template   `yaml:"value"`  // of either; fields: credential.*
	Basic  *BasicAuth `yaml:"basic"`  // or HTTP basic authentication
}

// BasicAuth is what HTTP basic authentication sends. Fields: credential.*
type BasicAuth struct {
	Username Template `yaml:"username"`
	Password Template `yaml:"password"`
}

// AuthCall is a read of the provider's API with the credential alone.
type AuthCall struct {
	Method  string    `yaml:"method"`  // GET or POST
	Path    Template  `yaml:"path"`    // below the base URL, without fields
	Success Predicate `yaml:"success"` // not written: http.success

	auth   *Auth
	action *Action // that does the same
}

// Identity says whose account a credential is for. Account is the provider's id
// of it, in the words of [Webhooks].Account, as far as both name the same thing;
// label is what people know it by.
type Identity struct {
	Request *AuthCall `yaml:"request"` // whose answer tells; nil: the token response does
	Account Sources   `yaml:"account"` // json:/pointer, or host:/pointer for the host of a URL
	Label   Sources   `yaml:"label"`   // json:/pointer
	Field   string    `yaml:"field"`   // instead of account: the credential's field that names it
}

// Authorize is where the user gives consent (RFC 6749, section 4.1.1).
type Authorize struct {
	URL    Address             `yaml:"url"`
	Params map[string]Template `yaml:"params"` // more of them; fields: app.client_id
	Scope  ScopeParam          `yaml:"scope"`

	// WithoutPKCE is the reason why the provider cannot be sent a
	// code_challenge. Empty: PKCE with S256.
	WithoutPKCE string `yaml:"without_pkce"`
	LoginHint   string `yaml:"login_hint"` // parameter that preselects an account; "": there is none
	Issuer      string `yaml:"issuer"`     // iss of genuine callbacks (RFC 9207); "": not known, not checked
}

// ScopeParam is how scopes are asked for, and which cover others.
type ScopeParam struct {
	Param     string              `yaml:"param"`     // not written: scope
	Separator string              `yaml:"separator"` // not written: a space
	Implies   map[string][]string `yaml:"implies"`   // :: scope → those that a grant of it covers without naming them
}

// ClientAuth is how the app proves to an endpoint that it is the app.
type ClientAuth string

// The ways of client authentication (RFC 6749, section 2.3.1). An app without a
// secret only says its id, in each of them.
const (
	ClientAuthBasic ClientAuth = "basic" // id and secret in the Authorization header
	ClientAuthPost  ClientAuth = "post"  // client_id and client_secret among the parameters
	ClientAuthNone  ClientAuth = "none"  // client_id among the parameters; not even that where no client is registered: of jwt, github_app and revoke
)

// TokenRequest is how tokens are asked for: a POST.
type TokenRequest struct {
	URL        Address    `yaml:"url"`
	Encoding   Encoding   `yaml:"encoding"` // not written: form
	ClientAuth ClientAuth `yaml:"client_auth"`

	// Fields of both: credential.*, app.client_id, app.client_secret, scopes,
	// and assertion where the auth has a jwt block. What has a field without a
	// value is left out. A parameter replaces the one of the protocol.
	Params  map[string]Template `yaml:"params"`
	Headers map[string]Template `yaml:"headers"`
}

// Device is the device authorization endpoint (RFC 8628).
type Device struct {
	URL        Address             `yaml:"url"`
	ClientAuth ClientAuth          `yaml:"client_auth"` // not written: as for tokens
	Params     map[string]Template `yaml:"params"`      // more of them; fields: app.client_id
}

// JWT is a signed assertion (RFC 7523). It also has iat, and exp after Lifetime.
type JWT struct {
	Algorithm   string              `yaml:"algorithm"`    // RS256, ES256 or HS256
	Key         Template            `yaml:"key"`          // PEM of the private key, of HS256 the secret; fields: credential.*, app.private_key, app.client_secret
	KeyEncoding string              `yaml:"key_encoding"` // of HS256: utf8 (not written), hex, base64
	Header      map[string]Template `yaml:"header"`       // such as kid; fields: credential.*, app.client_id
	Claims      map[string]Template `yaml:"claims"`       // fields: credential.*, app.client_id, scopes, nonce (random, each time)
	Lifetime    time.Duration       `yaml:"lifetime"`     // not written: 5 m; at most 1 h
	Backdate    time.Duration       `yaml:"backdate"`     // how far iat is in the past, for clocks that are behind
}

// Extract says where a token response has what. Of several sources the first
// that is present counts.
type Extract struct {
	AccessToken      Sources `yaml:"access_token"`       // not written: json:/access_token
	RefreshToken     Sources `yaml:"refresh_token"`      // not written: json:/refresh_token
	ExpiresIn        Sources `yaml:"expires_in"`         // seconds; not written: json:/expires_in
	ExpiresAt        Sources `yaml:"expires_at"`         // RFC 3339 or Unix time, instead of expires_in
	RefreshExpiresIn Sources `yaml:"refresh_expires_in"` // seconds; not written: json:/refresh_token_expires_in, json:/refresh_expires_in
	Scope            Sources `yaml:"scope"`              // a text or a list; not written: json:/scope
}

// AuthErrors adds to the error codes that RFC 6749 and RFC 8628 define. A
// failure without a code has the code http_ and its status, such as http_404.
type AuthErrors struct {
	Code          Sources  `yaml:"code"`          // where a code is; not written: json:/error, json:/error/code, json:/error/type
	Dead          []string `yaml:"dead"`          // the grant is gone: only the user can connect again
	Misconfigured []string `yaml:"misconfigured"` // the app is set up wrongly: the operator has to act, no grant is lost
}

// Refresh is how tokens are kept alive.
type Refresh struct {
	URL       Address       `yaml:"url"`        // not written: that of token
	Margin    time.Duration `yaml:"margin"`     // how long before its end a token is refreshed; 0: the service decides
	KeepAlive time.Duration `yaml:"keep_alive"` // a refresh token dies unless it is used at least this often; 0: it does not
}

// Revoke is how a grant is given back.
type Revoke struct {
	Method     string     `yaml:"method"` // POST (not written), DELETE, GET
	URL        Address    `yaml:"url"`    // fields: app.client_id
	Encoding   Encoding   `yaml:"encoding"`
	ClientAuth ClientAuth `yaml:"client_auth"` // not written: none

	// Fields: credential.*, credential.refresh_token, credential.grant (the
	// refresh token, or the access token where there is none), app.client_id,
	// app.client_secret. Params not written: token: {{credential.grant}}, as
	// RFC 7009 has it. With GET they are the query.
	Params  map[string]Template `yaml:"params"`
	Headers map[string]Template `yaml:"headers"`

	Success Predicate `yaml:"success"` // also of a grant that is gone already; not written: status < 300
}

// Sources are places of which the first that is present counts. In YAML one of
// them or a list.
type Sources []Source

// UnmarshalYAML reads the written form.
func (s *Sources) UnmarshalYAML(node *yaml.Node) error {
	nodes := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		nodes = node.Content
	}
	all := make(Sources, len(nodes))
	for i, n := range nodes {
		if err := all[i].UnmarshalYAML(n); err != nil {
			return err
		}
	}
	*s = all
	return nil
}
