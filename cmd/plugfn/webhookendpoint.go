package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newWebhookCreateCommand() *cobra.Command {
	var in newEndpoint
	secretFile, fragmentFile := "", ""
	cmd := &cobra.Command{
		Use:   "create <provider>",
		Short: "Make an endpoint for the deliveries of one connection",
		Long: "Create makes a URL of PlugFn's for one connection, or for a user without one, to be registered at the provider: for " +
			"webhooks of a repository, a board or a shop, each with a secret of its own. Who owns the endpoint owns its events, " +
			"whatever a delivery says.\n\n" +
			"Without --secret-file a secret is made and shown this once: enter it at the provider. Where the provider makes the " +
			"secret, use --secret-file with what it shows; where it shows that only once it has the URL, or tells it in a " +
			"handshake, use --secret-later, and set it with: plugfn webhook rotate.",
		Example: `plugfn webhook create github --user u1 --connection con_1
plugfn webhook create stripe --user u1 --secret-later
pass linear/webhook | plugfn webhook create linear --user u1 --secret-file -`,
		Args:              exactly("provider"),
		ValidArgsFunction: completeProviders,
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if in.UserID == "" {
				return usage("", "--user is missing: it says whose the events will be")
			}
			in.Provider = args[0]
			var err error
			if in.Secret, err = readEndpointSecret(cmd, secretFile); err != nil {
				return err
			}
			if in.Webhooks, err = readFragment(cmd, fragmentFile); err != nil {
				return err
			}
			e, err := api.createEndpoint(cmd.Context(), in)
			if err != nil {
				return err
			}
			if e.URL == "" {
				hint(cmd, "set PLUGFN_PUBLIC_URL on the server, so that it knows its whole URL")
			}
			return showEndpoint(p, e)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&in.UserID, "user", "", "whose the events will be")
	flags.StringVar(&in.ConnectionID, "connection", "", "the user's connection that the deliveries are about")
	flags.StringVar(&in.Name, "name", "", "the user's own word for it")
	flags.StringVar(&secretFile, "secret-file", "", "file with what the provider signs with, - for standard input; none: a secret is made")
	flags.BoolVar(&in.SecretLater, "secret-later", false, "the provider makes the secret once it has the URL")
	flags.StringVar(&in.URL, "url", "", "the URL as the provider will have it, where that is not PlugFn's own")
	flags.StringVar(&fragmentFile, "webhooks-file", "", "file with what the endpoint adds to the webhooks block of the pack, in YAML or JSON")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// readEndpointSecret reads a secret from a file; "" for none.
func readEndpointSecret(cmd *cobra.Command, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := readInput(cmd, "--secret-file", file)
	if err != nil {
		return "", err
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return "", usage("", "--secret-file: %s is empty", file)
	}
	return string(text), nil
}

// readFragment reads a webhooks block from a file; nil for none.
func readFragment(cmd *cobra.Command, file string) (map[string]any, error) {
	if file == "" {
		return nil, nil
	}
	text, err := readInput(cmd, "--webhooks-file", file)
	if err != nil {
		return nil, err
	}
	var fragment map[string]any
	if err := yaml.Unmarshal(text, &fragment); err != nil || len(fragment) == 0 {
		return nil, errors.Join(usage("", "--webhooks-file: %s holds no mapping", file), err)
	}
	return fragment, nil
}

func newWebhookListCommand() *cobra.Command {
	var user, provider, connection, state string
	limit := 0
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the endpoints of single connections",
		Args:    noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			if limit < 1 {
				return usage("", "--limit %d: must be at least 1", limit)
			}
			query := url.Values{}
			for name, value := range map[string]string{"user_id": user, "provider": provider, "connection_id": connection, "state": state} {
				if value != "" {
					query.Set(name, value)
				}
			}
			all, more, err := api.endpoints(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none; to make one: plugfn webhook create <provider> --user <user>")
			}
			if more {
				hint(cmd, fmt.Sprintf("there are more than %d: raise --limit", limit))
			}
			return list(p, all, func(e webhookEndpoint) string { return e.ID }, endpointColumns())
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "only this user's")
	flags.StringVar(&provider, "provider", "", "only of this provider")
	flags.StringVar(&connection, "connection", "", "only of this connection")
	flags.StringVar(&state, "state", "", "only with this state: pending, active, paused")
	flags.IntVar(&limit, "limit", 200, "how many at most")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func endpointColumns() []column[webhookEndpoint] {
	return []column[webhookEndpoint]{
		{title: "id", value: func(e webhookEndpoint) string { return e.ID }},
		{title: "user", value: func(e webhookEndpoint) string { return safe(e.UserID) }},
		{title: "provider", value: func(e webhookEndpoint) string { return safe(e.Provider) }},
		{title: "connection", value: func(e webhookEndpoint) string { return safe(e.ConnectionID) }},
		{title: "name", value: func(e webhookEndpoint) string { return safe(e.Name) }},
		{title: "state", value: func(e webhookEndpoint) string { return e.state() }},
		{title: "last delivery", value: func(e webhookEndpoint) string { return localTime(e.LastDeliveryAt, time.DateTime) }},
		{title: "url", wide: true, value: func(e webhookEndpoint) string { return safe(firstOf(e.URL, e.Path)) }},
	}
}

func (e *webhookEndpoint) state() string {
	switch e.State {
	case "active":
		return done(e.State)
	case "pending":
		return waiting(e.State)
	default:
		return broken(safe(e.State))
	}
}

// localTime writes a time for a person; "" for none.
func localTime(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(layout)
}

// endpointVerb is a command that does one thing with an endpoint and shows it.
func endpointVerb(cmd *cobra.Command, do func(cmd *cobra.Command, api *apiClient, id string) (webhookEndpoint, error)) *cobra.Command {
	cmd.Use += " <id>"
	cmd.Args = exactly("id")
	cmd.RunE = apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
		e, err := do(cmd, api, args[0])
		if err != nil {
			return err
		}
		return showEndpoint(p, e)
	})
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newWebhookShowCommand() *cobra.Command {
	return endpointVerb(&cobra.Command{
		Use:   "show",
		Short: "Show an endpoint, with the URL to register",
	}, func(cmd *cobra.Command, api *apiClient, id string) (webhookEndpoint, error) {
		return api.endpoint(cmd.Context(), id)
	})
}

func newWebhookRotateCommand() *cobra.Command {
	file, overlap := "", time.Duration(0)
	cmd := endpointVerb(&cobra.Command{
		Use:   "rotate",
		Short: "Give an endpoint a new secret",
		Long: "Rotate gives an endpoint a new secret, which is good at once. Those before it are good for --overlap, so that nothing is " +
			"refused while the provider is told. Without --secret-file one is made and shown this once. A pending endpoint is active " +
			"from then on.",
		Example: `plugfn webhook rotate whk_1
plugfn webhook rotate whk_1 --secret-file new.txt --overlap 1h`,
	}, func(cmd *cobra.Command, api *apiClient, id string) (webhookEndpoint, error) {
		if overlap < 0 {
			return webhookEndpoint{}, usage("", "--overlap %s: must not be below zero", overlap)
		}
		secret, err := readEndpointSecret(cmd, file)
		if err != nil {
			return webhookEndpoint{}, err
		}
		return api.rotateEndpoint(cmd.Context(), id, secret, overlap)
	})
	cmd.Flags().StringVar(&file, "secret-file", "", "file with the secret that the provider has made, - for standard input; none: one is made")
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "for how long the secrets before it are still good")
	return cmd
}

func newWebhookPauseCommand() *cobra.Command {
	return endpointVerb(&cobra.Command{
		Use:   "pause",
		Short: "Refuse the deliveries to an endpoint, as if it were not there",
		Long: "Pause has an endpoint answer 401, as if there were no such endpoint. What is sent meanwhile is lost, unless the provider " +
			"sends it again. Some providers remove a webhook that is refused for days.",
	}, func(cmd *cobra.Command, api *apiClient, id string) (webhookEndpoint, error) {
		return api.endpointDo(cmd.Context(), id, "pause")
	})
}

func newWebhookResumeCommand() *cobra.Command {
	return endpointVerb(&cobra.Command{
		Use:   "resume",
		Short: "Take the deliveries to an endpoint again",
	}, func(cmd *cobra.Command, api *apiClient, id string) (webhookEndpoint, error) {
		return api.endpointDo(cmd.Context(), id, "resume")
	})
}

func newWebhookDeleteCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:     "delete <id>",
		Aliases: []string{"rm"},
		Short:   "Delete an endpoint and its secrets",
		Args:    exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, _ *printer, api *apiClient) error {
			e, err := api.endpoint(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := confirm(cmd, yes, fmt.Sprintf("Delete the endpoint of user %s for %s", safe(e.UserID), safe(e.Provider))); err != nil {
				return err
			}
			return api.deleteEndpoint(cmd.Context(), args[0])
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func showEndpoint(p *printer, e webhookEndpoint) error {
	where := safe(e.URL)
	if where == "" {
		where = "set PLUGFN_PUBLIC_URL; the path is " + safe(e.Path)
	}
	fields := []field{
		{"id", e.ID},
		{"user", safe(e.UserID)},
		{"provider", safe(e.Provider)},
		{"connection", safe(e.ConnectionID)},
		{"name", safe(e.Name)},
		{"state", e.state()},
		{"url", where},
	}
	for _, s := range e.Secrets {
		fields = append(fields, field{"secret", s.text()})
	}
	if e.Secret != "" {
		fields = append(fields, field{"new secret", e.Secret + "  " + faint("shown this once")})
	}
	return p.object(e, e.ID, append(fields,
		field{"register", safe(e.Hint)},
		field{"last delivery", localTime(e.LastDeliveryAt, time.RFC3339)},
		field{"created", localTime(e.CreatedAt, time.RFC3339)},
	))
}
