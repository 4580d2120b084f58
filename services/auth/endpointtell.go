package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	// seenEvery is how often it is said of an endpoint that deliveries come.
	seenEvery = time.Minute
	// seenPause is between two looks at what is to be said.
	seenPause = 2 * time.Second
)

// Learn has the auth service store a secret that the handshake of a pending
// endpoint brought. When it returns nil the secret is stored and the endpoint
// active. An endpoint that is not pending any more refuses another secret with
// the code canceled, and one that its pack cannot use with invalid_params.
func (x *Endpoints) Learn(ctx context.Context, e endpoint.Endpoint, secret providers.Secret) error {
	x.mu.RLock()
	k := x.kept[e.Key]
	var trust string
	var ticket []byte
	if k != nil {
		trust, ticket = k.trust, k.ticket
	}
	x.mu.RUnlock()
	if trust == "" {
		return events.Errorf(events.CodeCanceled, "endpoint %s takes no secret from a handshake", e.ID)
	}
	plain, err := json.Marshal(learnedSecret{Key: e.Key, Secret: secret.Reveal()})
	if err != nil {
		return fmt.Errorf("encoding the secret: %w", err)
	}
	defer clear(plain)
	sealed, err := x.pair.Seal(plain, trust)
	if err != nil {
		return fmt.Errorf("sealing the secret: %w", err)
	}
	_, err = x.request(ctx, subjectEndpointsLearned, learnedRequest{Key: e.Key, Ticket: ticket, Sender: x.public, Sealed: sealed})
	return err
}

// Seen notes that a genuine delivery came. The auth service is told soon, once a
// minute for each endpoint. It never waits.
func (x *Endpoints) Seen(e endpoint.Endpoint) {
	now := x.cfg.Now()
	x.mu.RLock()
	k := x.kept[e.Key]
	due := k != nil && now.Sub(k.told) >= seenEvery
	x.mu.RUnlock()
	if !due {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if k := x.kept[e.Key]; k != nil {
		k.told = now
		x.news[e.Key] = now
	}
}

// tell tells the auth service what was seen, until ctx ends. What it does not
// hear is lost: the next delivery says the same.
func (x *Endpoints) tell(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, seenPause)
		for _, batch := range x.untold() {
			if _, err := x.request(context.WithoutCancel(ctx), subjectEndpointsSeen, seenRequest{Seen: batch}); err != nil {
				x.cfg.Log.Debug().Err(err).Int("endpoints", len(batch)).Msg("deliveries not noted")
			}
		}
	}
}

// untold takes what there is to tell, in pieces that a request holds.
func (x *Endpoints) untold() [][]sighting {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all [][]sighting
	for key, at := range x.news {
		if last := len(all) - 1; last < 0 || len(all[last]) == maxEndpointsAsked {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], sighting{key, at})
	}
	clear(x.news)
	return all
}
