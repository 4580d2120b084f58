package auth

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus"
)

// maxAsking is how many browsers may have a provider asked for them at once.
const maxAsking = 64

// newFlows joins what connects accounts. It starts nothing.
func newFlows(ctx context.Context, cfg *Config, s *store) (*flows, error) {
	public, err := parsePublicURL(cfg.PublicURL)
	if err != nil {
		return nil, err
	}
	returns, err := newReturnList(cfg.ReturnTo)
	if err != nil {
		return nil, err
	}
	views, err := newPages()
	if err != nil {
		return nil, err
	}
	kept, err := openBucket(ctx, cfg.JetStream, bus.BucketStates)
	if err != nil {
		return nil, err
	}
	clients, err := openBucket(ctx, cfg.JetStream, bus.BucketApps)
	if err != nil {
		return nil, err
	}
	f := &flows{
		store:     s,
		states:    &states{kv: kept, js: cfg.JetStream, keys: cfg.Keys, now: cfg.Now},
		apps:      &apps{kv: clients, keys: cfg.Keys, providers: cfg.Providers, now: cfg.Now},
		oauth:     cfg.OAuth,
		providers: cfg.Providers,
		public:    public,
		returns:   returns,
		pages:     views,
		places:    make(chan struct{}, maxAsking),
		log:       cfg.Log,
		now:       cfg.Now,
	}
	f.devices = &devices{poll: f.poll, log: cfg.Log}
	return f, nil
}

// run does what goes on without a browser until ctx ends and what is in hand is
// done.
func (f *flows) run(ctx context.Context, conn *nats.Conn) error {
	var polling sync.WaitGroup
	polling.Go(func() { f.devices.run(ctx, f.states.kv) })
	defer polling.Wait()
	return f.serveWebhooks(ctx, conn)
}
