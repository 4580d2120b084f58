package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

func newWebhookEditCommand() *cobra.Command {
	var name, registered, fragmentFile string
	cmd := endpointVerb(&cobra.Command{
		Use:   "edit",
		Short: "Rename an endpoint, or change how its deliveries are read",
		Long: "Edit changes what create was told: the name, the URL that the provider has, and what the endpoint adds to the webhooks " +
			"block of the pack, which takes the place of what it added before. For another secret see: plugfn webhook rotate.",
		Example: `plugfn webhook edit whk_1 --name orders
plugfn webhook edit whk_1 --url ""
plugfn webhook edit whk_1 --webhooks-file webhooks.yaml`,
	}, func(cmd *cobra.Command, api *apiClient, id string) (webhookEndpoint, error) {
		changes := map[string]any{}
		if cmd.Flags().Changed("name") {
			changes["name"] = name
		}
		if cmd.Flags().Changed("url") {
			changes["url"] = registered
		}
		fragment, err := readFragment(cmd, fragmentFile)
		if err != nil {
			return webhookEndpoint{}, err
		}
		if fragment != nil {
			changes["webhooks"] = fragment
		}
		if len(changes) == 0 {
			return webhookEndpoint{}, usage("", "say what to change: --name, --url or --webhooks-file")
		}
		return api.editEndpoint(cmd.Context(), id, changes)
	})
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "the user's own word for it")
	flags.StringVar(&registered, "url", "", "the URL as the provider has it; empty: PlugFn's own")
	flags.StringVar(&fragmentFile, "webhooks-file", "", "file with what the endpoint adds to the webhooks block of the pack, in YAML or JSON")
	return cmd
}

func (a *apiClient) editEndpoint(ctx context.Context, id string, changes map[string]any) (e webhookEndpoint, err error) {
	return e, a.do(ctx, http.MethodPatch, pathOfEndpoint(id), changes, &e)
}
