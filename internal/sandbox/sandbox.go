package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Config holds what a Sandbox needs.
type Config struct {
	Packs map[string]*providers.Pack // :: provider → pack; a pack without fixtures answers 501
	Log   zerolog.Logger

	// OnCall is told of each call once it is answered. It is called by many
	// goroutines at once, and a slow one makes the sandbox slow. nil: nobody is.
	OnCall func(Call)
	Now    func() time.Time // nil: time.Now
}

// Sandbox plays the providers. It is safe for concurrent use.
type Sandbox struct {
	cfg       Config
	providers map[string]*provider // :: name → what it answers
	calls     *ring
}

// provider is one pack, made ready to answer.
type provider struct {
	pack      *providers.Pack
	authority *authority
	bearers   []bearer
	scenes    map[string]*scene // :: action → what happens in it
	notFound  *answer
}

// New reads the fixtures of all packs. A fixture that cannot be read is an
// error. It starts nothing.
func New(cfg Config) (*Sandbox, error) {
	if len(cfg.Packs) == 0 {
		return nil, errors.New("sandbox: Packs is needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sandbox{cfg: cfg, providers: map[string]*provider{}, calls: &ring{}}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Packs)) {
		p, err := newProvider(cfg.Packs[name], cfg.Now)
		if err != nil {
			problems = append(problems, fmt.Errorf("sandbox: reading the fixtures of %s: %w", name, err))
			continue
		}
		s.providers[name] = p
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

func newProvider(pack *providers.Pack, now func() time.Time) (*provider, error) {
	fixtures, err := pack.ActionFixtures()
	if err != nil {
		return nil, err
	}
	p := &provider{
		pack:     pack,
		bearers:  bearersOf(pack),
		scenes:   make(map[string]*scene, len(pack.Actions)),
		notFound: failure(fixtures, "", func(f providers.ActionFixture) bool { return f.Response.Status == http.StatusNotFound }),
	}
	account, err := accountOf(pack)
	if err != nil {
		return nil, err
	}
	p.authority = newAuthority(pack, account, now)
	p.authority.authorised, p.authority.unauthorised = p.authorised, failure(fixtures, "", isRefusal)
	if p.authority.unauthorised == nil {
		p.authority.unauthorised = say(http.StatusUnauthorized, "the request bears no credential")
	}
	if p.notFound == nil {
		p.notFound = say(http.StatusNotFound, "Not Found")
	}
	for name, action := range pack.Actions {
		p.scenes[name] = newScene(action, fixtures)
	}
	return p, nil
}

// BaseURL is the base URL of a provider whose part the sandbox at root plays.
func BaseURL(root, provider string) string {
	return strings.TrimRight(root, "/") + "/" + provider
}
