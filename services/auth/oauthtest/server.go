package oauthtest

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Config is what a Server is like. The zero value is a strict server.
type Config struct {
	Clients     []Client      // the first one is that of App; none: "client" with a secret, which authenticates with basic
	AccessLife  time.Duration // of access tokens; 0: 1 h
	RefreshLife time.Duration // of refresh tokens; 0: they do not expire, and no answer says so
	CodeLife    time.Duration // of codes, also of the device flow; 0: 1 m
	ReuseGrace  time.Duration // a refresh token may be used again for so long; 0: never
	Interval    time.Duration // least time between two polls of a device; 0: 5 s
	Grantable   []string      // the scopes that users grant; nil: all
	Quirks      Quirks
	Now         func() time.Time // nil: time.Now
}

// Client is a registered app.
type Client struct {
	ID           string
	Secret       string               // "": a public client
	Auth         providers.ClientAuth // the one way in which it may authenticate
	RedirectURIs []string             // none: RedirectURI
}

// RedirectURI is what the default client has registered. Nothing listens there.
const RedirectURI = "https://plugfn.example/oauth/callback/strict"

// Server is an authorization server and an API behind it. It is safe for
// concurrent use.
type Server struct {
	URL string // of the server, without a slash at its end

	cfg     Config
	clients map[string]Client // :: id → client

	mu       sync.Mutex // guards all below
	quirks   Quirks
	faults   []Fault
	ledger   Ledger
	sessions map[string]consent       // :: cookie → what is asked for in this browser
	codes    map[string]*code         // :: code → what it grants
	devices  map[string]*device       // :: device code → what is asked for there
	refresh  map[string]*refreshToken // :: refresh token → its state
	access   map[string]*accessToken  // :: access token → its state
	families []*family
}

// family is all that came of one consent.
type family struct {
	client Client
	user   string
	scopes []string
	dead   bool
}

type refreshToken struct {
	family  *family
	expires time.Time // zero: never
	used    time.Time // zero: not yet
}

type accessToken struct {
	family  *family
	expires time.Time
}

// New starts a server. It is closed at the end of the test.
func New(t testing.TB, cfg Config) *Server {
	t.Helper()
	if len(cfg.Clients) == 0 {
		cfg.Clients = []Client{{ID: "client", Secret: "client-s3cret", Auth: providers.ClientAuthBasic}}
	}
	cfg.AccessLife = cmp.Or(cfg.AccessLife, time.Hour)
	cfg.CodeLife = cmp.Or(cfg.CodeLife, time.Minute)
	cfg.Interval = cmp.Or(cfg.Interval, 5*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg: cfg, quirks: cfg.Quirks, clients: map[string]Client{},
		sessions: map[string]consent{}, codes: map[string]*code{}, devices: map[string]*device{},
		refresh: map[string]*refreshToken{}, access: map[string]*accessToken{},
	}
	for _, c := range cfg.Clients {
		if len(c.RedirectURIs) == 0 {
			c.RedirectURIs = []string{RedirectURI}
		}
		s.clients[c.ID] = c
	}
	server := httptest.NewServer(s.handler())
	s.URL = server.URL
	t.Cleanup(server.Close)
	return s
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /authorize", s.decide)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /device_code", s.deviceCode)
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("GET /userinfo", s.userinfo)
	mux.Handle("/api/", http.StripPrefix("/api", s.API()))
	return mux
}

// App is the first client, pointed at this server. The base URL is that of the
// API.
func (s *Server) App() providers.App {
	c := s.cfg.Clients[0]
	return providers.App{
		BaseURL: s.URL + "/api", AuthBaseURL: s.URL,
		ClientID: c.ID, ClientSecret: providers.NewSecret([]byte(c.Secret)),
	}
}

// issue makes the tokens of a family. The caller holds the lock.
func (s *Server) issue(f *family, withRefresh bool) map[string]any {
	if s.quirks.OldAccessDies {
		for text, a := range s.access {
			if a.family == f {
				delete(s.access, text)
			}
		}
	}
	access := "at_" + rand.Text()
	s.access[access] = &accessToken{family: f, expires: s.cfg.Now().Add(s.cfg.AccessLife)}
	out := map[string]any{"access_token": access, "token_type": "bearer", "expires_in": s.cfg.AccessLife.Seconds()}
	if len(f.scopes) > 0 {
		out["scope"] = strings.Join(f.scopes, " ")
	}
	if !withRefresh {
		return out
	}
	text, token := "rt_"+rand.Text(), &refreshToken{family: f}
	if s.cfg.RefreshLife > 0 {
		token.expires = s.cfg.Now().Add(s.cfg.RefreshLife)
		out["refresh_token_expires_in"] = s.cfg.RefreshLife.Seconds()
	}
	s.refresh[text] = token
	out["refresh_token"] = text
	return out
}

// newFamily records a consent. The caller holds the lock.
func (s *Server) newFamily(c Client, user string, scopes []string) *family {
	f := &family{client: c, user: user, scopes: scopes}
	s.families = append(s.families, f)
	return f
}

// granted is what of the scopes the user grants.
func (s *Server) granted(scopes []string) []string {
	if s.cfg.Grantable == nil {
		return scopes
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !slices.Contains(s.cfg.Grantable, scope) })
}
