package plugfn

import (
	"context"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Provider is what an application may know of a provider.
type Provider = providers.Description

// Providers lists the providers that PlugFn knows by name, without the JSON
// Schemas of their actions and events.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	var answer struct {
		Providers []Provider `json:"providers"`
	}
	err := c.ask(ctx, events.ProvidersSubject(""), nil, &answer)
	return answer.Providers, err
}

// Provider returns all that is known of a provider. The error is
// [ErrUnknownProvider] where there is none of that name.
func (c *Client) Provider(ctx context.Context, name string) (Provider, error) {
	var p Provider
	return p, c.ask(ctx, events.ProvidersSubject(name), nil, &p)
}
