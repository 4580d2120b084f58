package providers

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	maxParams             = 1 << 20 // bytes
	defaultAttemptTimeout = 30 * time.Second
)

// Action returns the action of that name.
func (p *Pack) Action(name string) (*Action, bool) {
	a, ok := p.Actions[name]
	return a, ok
}

// NearestAction returns the action that name was most likely meant to be, or "".
func (p *Pack) NearestAction(name string) string { return nearest.Name(name, maps.Keys(p.Actions)) }

// AuthByID returns one way to authorise; the default one for "".
func (p *Pack) AuthByID(id string) (*Auth, bool) {
	i := 0
	if id != "" {
		i = slices.IndexFunc(p.Auth, func(a *Auth) bool { return a.ID == id })
	}
	if i < 0 || i >= len(p.Auth) {
		return nil, false
	}
	return p.Auth[i], true
}

// Pack returns the pack that the action belongs to.
func (a *Action) Pack() *Pack { return a.pack }

// AttemptTimeout is how long one attempt may take: the action's own time, else
// the pack's, else 30 seconds.
func (a *Action) AttemptTimeout() time.Duration {
	return cmp.Or(a.Timeout, a.pack.HTTP.Timeout, defaultAttemptTimeout)
}

// Validate returns nil when params are right for the action, otherwise an
// *events.Error with code invalid_params that names up to five problems, each
// with its JSON pointer and the rule. No value is quoted.
func (a *Action) Validate(params json.RawMessage) error {
	_, err := a.Ask(params)
	return err
}

// parseParams reads parameters strictly; its errors are *events.Error.
func parseParams(params json.RawMessage) (map[string]any, error) {
	if len(params) > maxParams {
		return nil, events.Errorf(events.CodeInvalidParams, "parameters are %d bytes long, allowed are %d", len(params), maxParams)
	}
	v, err := parseJSON(params)
	if err != nil {
		return nil, invalid("body " + err.Error())
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("body must be a JSON object")
	}
	return object, nil
}

func invalid(message string) error {
	return events.Errorf(events.CodeInvalidParams, "%s", message)
}

// Match finds the action that a request of this method and path asks for; path
// is escaped and without that of the base URL. Of several the one with the most
// literal segments counts, then the first by name.
func (p *Pack) Match(method, path string) (*Action, bool) {
	var best *Action
	most := -1
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		a := p.Actions[name]
		if a.Request.Method != method {
			continue
		}
		if n, ok := a.Request.matchPath(path); ok && n > most {
			best, most = a, n
		}
	}
	return best, best != nil
}
