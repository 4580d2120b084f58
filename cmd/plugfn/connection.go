package main

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newConnectionCommand() *cobra.Command {
	return noun("connection", "connections", "Connect accounts and look at connections",
		newConnectionCreateCommand(), newConnectionListCommand(), newConnectionShowCommand(), newConnectionEditCommand(),
		newConnectionTestCommand(), newConnectionRefreshCommand(), newConnectionDeleteCommand())
}

// apiRun is a verb that speaks to the HTTP API.
func apiRun(do func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p, err := newPrinter(cmd)
		if err != nil {
			return err
		}
		t, err := newTarget(cmd)
		if err != nil {
			return err
		}
		api, err := t.api()
		if err != nil {
			return err
		}
		return do(cmd, args, p, api)
	}
}

func newConnectionCreateCommand() *cobra.Command {
	var in newConnection
	tokenFile := ""
	cmd := &cobra.Command{
		Use:   "create <provider>",
		Short: "Connect an account with an API token",
		Long: "Create connects a user's account with an API token of the provider. The token comes from --token-file, from standard " +
			"input, or from a prompt: command lines are seen by others and remembered by shells.",
		Example: `plugfn connection create github --user u1 --account 4242 --token-file token.txt
pass github/token | plugfn connection create github --user u1`,
		Args:              exactly("provider"),
		ValidArgsFunction: completeProviders,
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if in.UserID == "" {
				return usage("", "--user is missing: it says whose connection this will be")
			}
			in.Provider = args[0]
			needed, err := needsToken(cmd, in.Provider, in.Auth)
			if err == nil && needed {
				in.Token, err = readToken(cmd, tokenFile, in.Provider)
			}
			if err != nil {
				return err
			}
			c, err := api.connect(cmd.Context(), in)
			if err != nil {
				return err
			}
			return showConnection(p, c)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&in.UserID, "user", "", "whose connection it will be")
	flags.StringVar(&in.Name, "name", "", "the user's own word for it")
	flags.StringVar(&in.Account, "account", "", "the provider's id of the account, whose deliveries become the user's events")
	flags.StringVar(&in.Auth, "auth", "", "kind of the token, where the provider has several")
	flags.StringVar(&tokenFile, "token-file", "", "file that holds the token, - for standard input")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// needsToken tells whether anything has to be given to connect. Nothing has to
// where the operator's app is who connects, as with the key of a GitHub App.
func needsToken(cmd *cobra.Command, provider, auth string) (bool, error) {
	t, err := newTarget(cmd)
	if err != nil {
		return false, err
	}
	packs, err := t.packs()
	if err != nil {
		return false, err
	}
	pack, ok := packs[provider]
	if !ok {
		return true, nil // the server knows more, or says what is wrong
	}
	a, ok := pack.AuthByID(auth)
	return !ok || !a.Type.Mints() || len(a.Fields) > 0, nil
}

// maxTokenFile bounds what should be one line.
const maxTokenFile = 64 << 10

// readToken reads a token from a file, from standard input, or asks for it.
func readToken(cmd *cobra.Command, file, provider string) (string, error) {
	stdin := cmd.InOrStdin()
	if file == "" && isTerminal(stdin) {
		return checkToken(askSecret(cmd, "Token of "+provider+" (not shown): "))
	}
	in := stdin
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usage("", "--token-file: %v", err)
		}
		defer f.Close()
		in = f
	}
	return checkToken(io.ReadAll(io.LimitReader(in, maxTokenFile)))
}

func checkToken(text []byte, err error) (string, error) {
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := string(bytes.TrimSpace(text))
	if token == "" {
		return "", usage("give it with --token-file, or on standard input", "the token is empty")
	}
	return token, nil
}

func newConnectionListCommand() *cobra.Command {
	var user, provider, status string
	limit := 0
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List connections",
		Args:    noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			if limit < 1 {
				return usage("", "--limit %d: must be at least 1", limit)
			}
			query := url.Values{}
			for name, value := range map[string]string{"user_id": user, "provider": provider, "status": status} {
				if value != "" {
					query.Set(name, value)
				}
			}
			all, more, err := api.connections(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none; to make one: plugfn connection create <provider> --user <user>")
			}
			if more {
				hint(cmd, fmt.Sprintf("there are more than %d: raise --limit", limit))
			}
			return list(p, all, func(c connection) string { return c.ID }, connectionColumns())
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "only this user's")
	cmd.Flags().StringVar(&provider, "provider", "", "only to this provider")
	cmd.Flags().StringVar(&status, "status", "", "only with this status: active, needs_reauth, error")
	cmd.Flags().IntVar(&limit, "limit", 200, "how many at most")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func connectionColumns() []column[connection] {
	return []column[connection]{
		{title: "id", value: func(c connection) string { return c.ID }},
		{title: "user", value: func(c connection) string { return safe(c.UserID) }},
		{title: "provider", value: func(c connection) string { return safe(c.Provider) }},
		{title: "name", value: func(c connection) string { return safe(c.Name) }},
		{title: "account", value: func(c connection) string { return safe(c.Account) }},
		{title: "status", value: func(c connection) string { return statusOf(c) }},
		{title: "auth", wide: true, value: func(c connection) string { return c.Auth }},
		{title: "created", wide: true, value: func(c connection) string { return c.CreatedAt.Local().Format(time.DateTime) }},
	}
}

func statusOf(c connection) string {
	if c.Status == "active" {
		return done("active")
	}
	return broken(safe(string(c.Status)))
}

func newConnectionShowCommand() *cobra.Command {
	return withTarget(settings.HTTP|settings.API, withOutput(&cobra.Command{
		Use:   "show <id>",
		Short: "Show a connection",
		Args:  exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			c, err := api.connection(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := showConnection(p, c); err != nil || !p.forPeople() {
				return err
			}
			return showAudit(cmd, p, api, c.ID)
		}),
	}))
}

func showConnection(p *printer, c connection) error {
	when := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Local().Format(time.RFC3339)
	}
	isDefault := ""
	if c.Default {
		isDefault = "yes"
	}
	return p.object(c, c.ID, []field{
		{"id", c.ID},
		{"user", safe(c.UserID)},
		{"provider", safe(c.Provider)},
		{"name", safe(c.Name)},
		{"default", isDefault},
		{"account", safe(c.Account)},
		{"label", safe(c.Label)},
		{"status", statusOf(c)},
		{"refresh", c.Refresh.text()},
		{"missing scopes", safe(strings.Join(c.MissingScopes, " "))},
		{"auth", c.Auth},
		{"expires", when(c.ExpiresAt)},
		{"last used", when(c.LastUsedAt)},
		{"created", when(c.CreatedAt)},
		{"updated", when(c.UpdatedAt)},
	})
}

func newConnectionDeleteCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:     "delete <id>",
		Aliases: []string{"rm"},
		Short:   "Delete a connection and its credential",
		Args:    exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, _ *printer, api *apiClient) error {
			c, err := api.connection(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := confirm(cmd, yes, fmt.Sprintf("Delete the connection of user %s to %s", safe(c.UserID), safe(c.Provider))); err != nil {
				return err
			}
			gone, err := api.disconnect(cmd.Context(), args[0])
			if err == nil && gone.Attempted && !gone.Succeeded {
				hint(cmd, safe(c.Provider)+" was not told yet; PlugFn goes on trying for 24 hours")
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}
