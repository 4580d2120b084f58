package executor

import (
	"context"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// find tells how a request has ended, so far.
func (c *calls) find(ctx context.Context, t ticket, _ []byte) (any, error) {
	result, err := c.results.of(ctx, t)
	return events.FoundResult{Result: result}, err
}

// describe tells which providers there are, or all about one.
func (c *calls) describe(_ context.Context, name string) (any, error) {
	if name == "" {
		all := struct {
			Providers []providers.Description `json:"providers"`
		}{[]providers.Description{}}
		for _, name := range c.Providers.Names() {
			pack, _ := c.Providers.Pack(name)
			all.Providers = append(all.Providers, pack.Describe(false))
		}
		return all, nil
	}
	pack, ok := c.Providers.Pack(name)
	if !ok {
		return nil, events.Errorf(events.CodeUnknownProvider, "no provider %q%s", name, nearest.Meant(c.Providers.Nearest(name)))
	}
	return pack.Describe(true), nil
}
