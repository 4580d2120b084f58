package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newAppCommand() *cobra.Command {
	return noun("app", "apps", "Set your OAuth clients at the providers",
		newAppSetCommand(), newAppListCommand(), newAppShowCommand(), newAppDeleteCommand())
}

func newAppSetCommand() *cobra.Command {
	var c appSetting
	cmd := &cobra.Command{
		Use:   "set <provider>",
		Short: "Set your OAuth client at a provider, or what its deliveries are signed with",
		Long: "Set stores the client id that the provider gave your app, and its secret, encrypted. New connections are made " +
			"with it; those that another client has made keep theirs. The secret comes from --client-secret-file, from " +
			"standard input, or from a prompt: command lines are seen by others and remembered by shells. Without a " +
			"secret, the one that is stored with this client id stays.\n\n" +
			"With --webhook-secret-file it adds a secret that the provider signs its deliveries with. Several may be good at " +
			"once: --retire-others-after says for how long the others still are.\n\n" +
			"PLUGFN_<PROVIDER>_CLIENT_ID and its companions, where they are set, come before what is stored; webhook secrets " +
			"from there are good as well.",
		Example: `plugfn app set github --client-id Iv1.8a61f9b3a7aba766 --client-secret-file secret.txt
pass github/oauth | plugfn app set github --client-id Iv1.8a61f9b3a7aba766
plugfn app set github --webhook-secret-file new.txt --retire-others-after 24h`,
		Args:              exactly("provider"),
		ValidArgsFunction: completeProviders,
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			return c.run(cmd, args[0], p, api)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&c.in.ClientID, "client-id", "", "client id of your app there")
	flags.StringVar(&c.secretFile, "client-secret-file", "", "file that holds its secret, - for standard input")
	flags.StringVar(&c.keyFile, "private-key-file", "", "file that holds its private key in PEM, where the provider gives one")
	flags.StringVar(&c.in.UserID, "user", "", "a user who has a client of his own; none: it is for everybody")
	flags.StringVar(&c.webhookFile, "webhook-secret-file", "", "file that holds a secret of its deliveries, - for standard input")
	flags.DurationVar(&c.retire, "retire-others-after", 0, "for how long the other webhook secrets are still good; 0: as they are")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// appSetting is one run of plugfn app set.
type appSetting struct {
	in                               newApp
	secretFile, keyFile, webhookFile string
	retire                           time.Duration
}

func (c *appSetting) run(cmd *cobra.Command, provider string, p *printer, api *apiClient) error {
	switch {
	case c.in.ClientID == "" && c.webhookFile == "":
		return usage("", "--client-id is missing: the provider shows it with your app")
	case c.in.ClientID == "" && (c.secretFile != "" || c.keyFile != "" || c.in.UserID != ""):
		return usage("", "--client-id is missing: it says whose secret or key this is")
	case c.retire != 0 && (c.webhookFile == "" || c.retire < time.Second):
		return usage("", "--retire-others-after goes with --webhook-secret-file, and is at least 1s")
	}
	if c.webhookFile != "" {
		added, err := c.addWebhook(cmd, provider, api)
		if err != nil || c.in.ClientID == "" {
			return errors.Join(err, showAdded(p, added))
		}
	}
	var err error
	if c.in.ClientSecret, err = readClientSecret(cmd, c.secretFile, provider); err != nil {
		return err
	}
	if c.keyFile != "" {
		key, err := readInput(cmd, "--private-key-file", c.keyFile)
		if err != nil {
			return err
		}
		c.in.PrivateKey = string(key)
	}
	a, err := api.setApp(cmd.Context(), provider, c.in)
	if err != nil {
		return err
	}
	if !a.InUse {
		hint(cmd, "not used for new connections: the settings of the server have another client")
	}
	return showApp(p, a)
}

func (c *appSetting) addWebhook(cmd *cobra.Command, provider string, api *apiClient) (*webhookSecret, error) {
	text, err := readInput(cmd, "--webhook-secret-file", c.webhookFile)
	if err != nil {
		return nil, err
	}
	added, err := api.addWebhookSecret(cmd.Context(), provider, string(bytes.TrimSpace(text)), c.retire)
	if err != nil {
		return nil, err
	}
	return &added, nil
}

func showAdded(p *printer, s *webhookSecret) error {
	if s == nil {
		return nil
	}
	return p.object(s, s.ID, []field{{"webhook secret", s.ID}, {"provider", s.Provider}, {"good", s.good()}})
}

// readClientSecret reads a secret from a file, from standard input, or asks for
// it. There may be none.
func readClientSecret(cmd *cobra.Command, file, provider string) (string, error) {
	if file == "" && isTerminal(cmd.InOrStdin()) {
		text, err := askSecret(cmd, "Client secret of "+provider+" (not shown; empty to leave it as it is): ")
		return string(bytes.TrimSpace(text)), err
	}
	given := file
	if file == "" {
		file = "-"
	}
	text, err := readInput(cmd, "--client-secret-file", file)
	if err != nil {
		return "", err
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 && given != "" {
		return "", usage("", "--client-secret-file: %s is empty", given)
	}
	return string(text), nil
}

// readInput reads a file that a flag names, - for standard input.
func readInput(cmd *cobra.Command, flag, file string) ([]byte, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("", "%s: %v", flag, err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return text, nil
}

func newAppListCommand() *cobra.Command {
	return withTarget(settings.HTTP|settings.API, withOutput(&cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the OAuth clients that are set",
		Args:    noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			all, err := api.apps(cmd.Context(), url.Values{})
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none; to set one: plugfn app set <provider> --client-id <id>")
			}
			return list(p, all, func(a app) string { return a.ClientID }, []column[app]{
				{title: "provider", value: func(a app) string { return a.Provider }},
				{title: "client id", value: func(a app) string { return safe(a.ClientID) }},
				{title: "user", value: func(a app) string { return safe(a.UserID) }},
				{title: "in use", value: func(a app) string { return yesNo(a.InUse) }},
				{title: "from", value: func(a app) string { return a.Source }},
				{title: "redirect uri", wide: true, value: func(a app) string { return safe(a.RedirectURI) }},
			})
		}),
	}))
}

func newAppShowCommand() *cobra.Command {
	user := ""
	cmd := &cobra.Command{
		Use:               "show <provider>",
		Short:             "Show the OAuth client that new connections are made with, and the webhook secrets",
		Args:              exactly("provider"),
		ValidArgsFunction: completeProviders,
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			all, err := api.apps(cmd.Context(), url.Values{"provider": {args[0]}})
			if err != nil {
				return err
			}
			secrets, err := api.webhookSecrets(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			for _, a := range all {
				if a.InUse && a.UserID == user {
					a.WebhookSecrets = secrets
					return showApp(p, a)
				}
			}
			if len(secrets) > 0 && user == "" {
				return showApp(p, app{Provider: args[0], WebhookSecrets: secrets})
			}
			return &failure{exit: exitNotFound, what: "no OAuth client is set for " + args[0], fix: "plugfn app set " + args[0] + " --client-id <id>"}
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "a user who has a client of his own")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newAppDeleteCommand() *cobra.Command {
	var clientID, user, secret string
	yes, force := false, false
	cmd := &cobra.Command{
		Use:               "delete <provider>",
		Aliases:           []string{"rm"},
		Short:             "Delete an OAuth client or a webhook secret that is stored",
		Args:              exactly("provider"),
		ValidArgsFunction: completeProviders,
		RunE: apiRun(func(cmd *cobra.Command, args []string, _ *printer, api *apiClient) error {
			if (clientID == "") == (secret == "") {
				return usage("plugfn app list", "--client-id or --webhook-secret: give one of them, it says what to delete")
			}
			if secret != "" {
				if err := confirm(cmd, yes, fmt.Sprintf("Delete the webhook secret %s of %s", safe(secret), args[0])); err != nil {
					return err
				}
				return api.deleteWebhookSecret(cmd.Context(), args[0], secret)
			}
			if err := confirm(cmd, yes, fmt.Sprintf("Delete the client %s of %s", safe(clientID), args[0])); err != nil {
				return err
			}
			return api.deleteApp(cmd.Context(), args[0], clientID, user, force)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&clientID, "client-id", "", "client id of the app")
	flags.StringVar(&secret, "webhook-secret", "", "id of the webhook secret")
	flags.StringVar(&user, "user", "", "the user whose own client it is")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	flags.BoolVar(&force, "force", false, "delete it even if connections need it to be refreshed")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func showApp(p *printer, a app) error {
	redirect := safe(a.RedirectURI)
	if redirect == "" {
		redirect = "set PLUGFN_PUBLIC_URL"
	}
	fields := []field{{"provider", a.Provider}}
	if a.ClientID != "" {
		fields = append(fields,
			field{"client id", safe(a.ClientID)}, field{"user", safe(a.UserID)},
			field{"client secret", yesNo(a.HasClientSecret)}, field{"private key", yesNo(a.HasPrivateKey)},
			field{"in use", yesNo(a.InUse)}, field{"from", a.Source}, field{"redirect uri", redirect})
	}
	for _, s := range a.WebhookSecrets {
		fields = append(fields, field{"webhook secret", s.ID + "  " + s.good()})
	}
	return p.object(a, a.ClientID, fields)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
