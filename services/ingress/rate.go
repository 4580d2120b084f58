package ingress

import (
	"hash/maphash"
	"time"

	"golang.org/x/time/rate"
)

// rateBuckets is how many token buckets there are. Endpoints share them by a
// hash, those that do not exist like those that do: their number is bounded,
// and which endpoints exist does not show.
const rateBuckets = 4096

// rates bounds how many deliveries an endpoint gets rid of.
type rates struct {
	seed    maphash.Seed
	buckets [rateBuckets]*rate.Limiter
}

// newRates allows some deliveries a second for each endpoint, and a burst of
// what two seconds allow.
func newRates(perSecond int) *rates {
	r := &rates{seed: maphash.MakeSeed()}
	for i := range r.buckets {
		r.buckets[i] = rate.NewLimiter(rate.Limit(perSecond), 2*perSecond)
	}
	return r
}

// take reports whether a delivery may come in now.
func (r *rates) take(provider, token string, now time.Time) bool {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(provider) // never fails
	_ = h.WriteByte('/')
	_, _ = h.WriteString(token)
	return r.buckets[h.Sum64()%rateBuckets].AllowN(now, 1)
}
