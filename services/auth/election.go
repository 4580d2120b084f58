package auth

import (
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// candidate is a connection that a user may mean.
type candidate struct {
	key, id   string
	user      string // "" where the record cannot be read
	isDefault bool
	since     time.Time // of the default
}

func newCandidate(key string, r *record, readable bool) candidate {
	if !readable { // it may be the one that is meant, so it counts
		return candidate{key: key, id: r.ID}
	}
	return candidate{key: key, id: r.ID, user: r.UserID, isDefault: r.Default, since: r.DefaultSince}
}

// belongsTo tells users apart whose tokens in a key are the same hash.
func (c candidate) belongsTo(user string) bool { return user == "" || c.user == "" || c.user == user }

// election finds the connection that is meant by who names none: the default,
// else the only one. Connections that cannot be used count too, so that an
// action never goes to another account than it would have gone to a minute ago.
type election struct {
	all   page // the first few, to be named
	last  candidate
	chief candidate // the latest default; its key is "" while there is none
}

func (e *election) add(c candidate) {
	if e.all.limit == 0 {
		e.all.limit = maxNamed
	}
	e.all.add(c.key)
	e.last = c
	if c.isDefault && (e.chief.key == "" || c.since.After(e.chief.since)) {
		e.chief = c
	}
}

// winner returns the one that is meant, false where there is none or several.
func (e *election) winner() (candidate, bool) {
	if e.chief.key != "" {
		return e.chief, true
	}
	return e.last, len(e.all.keys) == 1
}

// refusal says why there is no winner.
func (e *election) refusal(provider string) *events.Error {
	if len(e.all.keys) == 0 {
		return events.Errorf(events.CodeConnectionNotFound, "the user has no connection to %s", quote(provider))
	}
	keys, more := e.all.cut()
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = namedBy(key).ID
	}
	list := strings.Join(ids, ", ")
	if more != "" {
		list += " and more"
	}
	return events.Errorf(events.CodeConnectionAmbiguous, "the user has several connections to %s: %s; name one in %s, or make one the default", provider, list, events.HeaderConnection)
}
