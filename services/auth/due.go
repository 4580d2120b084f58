package auth

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// How long before its end a credential is refreshed, and from when on it is not
// handed out any more without an attempt to refresh it. Short lives have shares
// of these.
const (
	refreshLead  = 5 * time.Minute
	servingLead  = time.Minute
	keepAliveMin = time.Hour // between two refreshes that only keep a refresh token alive
)

// rules is what a provider says about refreshing.
type rules struct {
	margin    time.Duration // before the end of a credential; 0: ours
	keepAlive time.Duration // a refresh token dies that is not used for so long; 0: it does not
}

// life is how long the present credential is good for altogether; 0: for ever.
func (r *record) life() time.Duration {
	if r.ExpiresAt.IsZero() {
		return 0
	}
	return max(r.ExpiresAt.Sub(r.ObtainedAt), time.Millisecond)
}

// isStale reports whether so little is left of the credential that it should
// not be handed out.
func (r *record) isStale(now time.Time) bool {
	return !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt.Add(-min(servingLead, r.life()/5)))
}

// isOver reports whether the credential has expired.
func (r *record) isOver(now time.Time) bool {
	return !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt)
}

// reuse is how long who has the credential may use it again without asking.
func (r *record) reuse(now time.Time) time.Duration {
	if r.ExpiresAt.IsZero() {
		return maxReuse
	}
	left := r.ExpiresAt.Add(-min(servingLead, r.life()/5)).Sub(now)
	return max(0, min(maxReuse, r.life()/4, left))
}

// dueAt is when something has to be done about r without being asked: refresh
// it, look after a claim, or note that it has expired. The zero time stands for
// never. It is the same each time for one version of a credential.
func (r *record) dueAt(is rules) time.Time {
	switch {
	case r.Status != events.ConnectionActive:
		return time.Time{}
	case !r.Refresh.NextAttempt.IsZero():
		return r.Refresh.NextAttempt
	case !r.Renewable:
		return r.ExpiresAt
	default:
		return earlier(r.refreshAt(is), r.keepAliveAt(is))
	}
}

// refreshAt spreads the refreshes of credentials that were made together.
func (r *record) refreshAt(is rules) time.Time {
	life := r.life()
	if life == 0 {
		return time.Time{}
	}
	lead := max(is.margin, servingLead)
	if is.margin == 0 {
		lead = max(refreshLead, life/10)
	}
	return r.ExpiresAt.Add(-min(lead, life/2) - r.share(life/10))
}

// keepAliveAt is when the refresh token was idle for a fifth of what it may be.
func (r *record) keepAliveAt(is rules) time.Time {
	idle := is.keepAlive
	if left := r.RefreshExpiresAt.Sub(r.ObtainedAt); !r.RefreshExpiresAt.IsZero() && (idle == 0 || left < idle) {
		idle = left
	}
	if idle <= 0 {
		return time.Time{}
	}
	return r.ObtainedAt.Add(max(idle/5, min(keepAliveMin, idle/2)) - r.share(idle/50))
}

// share is a part of d that differs from connection to connection and from one
// version to the next.
func (r *record) share(d time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strconv.Itoa(r.Version) + r.ID))
	return time.Duration(float64(d) * (float64(h.Sum64()) / math.MaxUint64))
}

// chance is a part of d that differs each time. It spreads what would come all at
// once.
func chance(d time.Duration) time.Duration {
	return rand.N(max(d, 1)) //nolint:gosec // nobody gains by guessing it
}

// earlier returns the earlier time; the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
