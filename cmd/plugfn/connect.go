package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

func newConnectCommand() *cobra.Command {
	c := connecting{}
	cmd := &cobra.Command{
		Use:   "connect <provider>",
		Short: "Connect an account: in the browser, on another device, or with a token",
		Long: "Connect has a user give his consent at the provider and waits until the account is connected. It prints a link " +
			"to open in a browser on this computer; with --device it prints a code to enter on any device. Where the " +
			"provider has neither, or with --token-file, it asks for a token as `plugfn connection create` does.\n\n" +
			"The provider has to know your OAuth client: plugfn app set.",
		Example: `plugfn connect github --user u1
plugfn connect github --user u1 --device --scope repo --scope read:org
plugfn connect github --user u1 --connection con_01m8… (renew the credential of a connection)`,
		Args:              exactly("provider"),
		ValidArgsFunction: completeProviders,
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			return c.run(cmd, args[0], p, api)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&c.in.UserID, "user", "", "whose connection it will be")
	flags.BoolVar(&c.device, "device", false, "enter a code on any device")
	flags.BoolVar(&c.browser, "browser", false, "open a link in a browser on this computer")
	flags.StringVar(&c.tokenFile, "token-file", "", "file that holds a token, - for standard input")
	flags.StringVar(&c.in.Auth, "auth", "", "id of the provider's auth block, where it has several that fit")
	flags.StringArrayVar(&c.in.Scopes, "scope", nil, "a scope to ask for, repeatable; none: the provider's default ones")
	flags.StringVar(&c.in.Name, "name", "", "the user's own word for the connection")
	flags.StringVar(&c.in.ConnectionID, "connection", "", "connection that gets a new credential")
	flags.StringVar(&c.hint, "login-hint", "", "account that the user probably wants")
	return withTarget(settings.HTTP|settings.API|settings.Packs, withOutput(cmd))
}

// connecting is one run of plugfn connect.
type connecting struct {
	in              attempt
	device, browser bool
	tokenFile, hint string
}

func (c *connecting) run(cmd *cobra.Command, provider string, p *printer, api *apiClient) error {
	if c.in.UserID == "" {
		return usage("", "--user is missing: it says whose connection this will be")
	}
	if c.device && c.browser || c.tokenFile != "" && (c.device || c.browser) {
		return usage("", "--device, --browser and --token-file: give one of them")
	}
	c.in.Provider = provider
	way, err := c.way(cmd)
	if err != nil {
		return err
	}
	if way == byToken {
		return c.withToken(cmd, p, api)
	}
	var begun flow
	if way == byDevice {
		begun, err = api.startDevice(cmd.Context(), c.in)
	} else {
		begun, err = api.start(cmd.Context(), c.in, c.hint)
	}
	if err != nil {
		return err
	}
	invite(cmd, &begun)
	done, err := api.await(cmd.Context(), begun)
	if err != nil {
		return err
	}
	if len(done.MissingScopes) > 0 {
		hint(cmd, "not granted: "+safe(strings.Join(done.MissingScopes, ", ")))
	}
	made, err := api.connection(cmd.Context(), done.ConnectionID)
	if err != nil {
		return err
	}
	return showConnection(p, made)
}

// The ways to connect.
const (
	byBrowser = "browser"
	byDevice  = "device"
	byToken   = "token"
)

// way is the one that the flags name, else the first that the provider has.
func (c *connecting) way(cmd *cobra.Command) (string, error) {
	switch {
	case c.tokenFile != "":
		return byToken, nil
	case c.device:
		return byDevice, nil
	case c.browser:
		return byBrowser, nil
	}
	t, err := newTarget(cmd)
	if err != nil {
		return "", err
	}
	packs, err := t.packs()
	if err != nil {
		return "", err
	}
	pack, ok := packs[c.in.Provider]
	if !ok {
		return byBrowser, nil // the server may know it, and says otherwise what is near
	}
	way := byToken
	for _, auth := range pack.Auth {
		switch {
		case c.in.Auth != "" && c.in.Auth != auth.ID || auth.Type != providers.AuthOAuth2:
		case auth.Authorize != nil:
			return byBrowser, nil
		default:
			way = byDevice
		}
	}
	return way, nil
}

func (c *connecting) withToken(cmd *cobra.Command, p *printer, api *apiClient) error {
	switch {
	case len(c.in.Scopes) > 0:
		return usage("", "--scope has no meaning with a token: it has the scopes that it was made with")
	case c.in.ConnectionID != "":
		return usage("plugfn connection --help", "--connection has no meaning with a token")
	}
	token, err := readToken(cmd, c.tokenFile, c.in.Provider)
	if err != nil {
		return err
	}
	made, err := api.connect(cmd.Context(), newConnection{
		UserID: c.in.UserID, Provider: c.in.Provider, Auth: c.in.Auth, Name: c.in.Name, Token: token,
	})
	if err != nil {
		return err
	}
	return showConnection(p, made)
}

// invite tells the person what to do. It goes where the result does not.
func invite(cmd *cobra.Command, f *flow) {
	w := cmd.ErrOrStderr()
	if f.UserCode != "" {
		fmt.Fprintf(w, "Your code is %s. Enter it at %s\n", done(safe(f.UserCode)), safe(f.VerificationURI))
		if f.VerificationURIComplete != "" {
			fmt.Fprintf(w, "or open %s\n", safe(f.VerificationURIComplete))
		}
	} else {
		fmt.Fprintf(w, "Open this link in a browser on this computer:\n%s\n", safe(f.ConnectURL))
	}
	fmt.Fprintln(w, faint("Waiting until "+f.ExpiresAt.Local().Format(time.TimeOnly)+" …"))
}

// attempt asks for an attempt to connect an account.
type attempt struct {
	UserID       string   `json:"user_id"`
	Provider     string   `json:"provider"`
	Auth         string   `json:"auth,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
	Name         string   `json:"connection_name,omitempty"`
	ConnectionID string   `json:"connection_id,omitempty"`
}

// flow is an attempt as the API shows it.
type flow struct {
	ID         string    `json:"id"`
	ConnectURL string    `json:"connect_url"`
	ExpiresAt  time.Time `json:"expires_at"`

	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`

	Status        string        `json:"status"`
	ConnectionID  string        `json:"connection_id"`
	MissingScopes []string      `json:"missing_scopes"`
	Error         *events.Error `json:"error"`
}

func (a *apiClient) start(ctx context.Context, in attempt, loginHint string) (f flow, err error) {
	err = a.do(ctx, http.MethodPost, "/v1/connections/start", struct {
		attempt
		LoginHint string `json:"login_hint,omitempty"`
	}{in, loginHint}, &f)
	return f, err
}

func (a *apiClient) startDevice(ctx context.Context, in attempt) (f flow, err error) {
	err = a.do(ctx, http.MethodPost, "/v1/connections/device", in, &f)
	return f, err
}

// awaitPause is how long nobody asks how an attempt stands.
const awaitPause = 500 * time.Millisecond

// await asks until an attempt has an outcome. One that is none is a failure.
func (a *apiClient) await(ctx context.Context, begun flow) (flow, error) {
	tick := time.NewTicker(awaitPause)
	defer tick.Stop()
	for {
		var now flow
		err := a.do(ctx, http.MethodGet, "/v1/flows/"+url.PathEscape(begun.ID), nil, &now)
		var f *failure
		switch {
		case errors.As(err, &f) && f.exit == exitNotFound:
			return flow{}, &failure{exit: exitTimeout, what: "nobody has finished in time", fix: "start again"}
		case err != nil:
			return flow{}, err
		case now.Status == "connected":
			return now, nil
		case now.Status == "failed" && now.Error != nil:
			return flow{}, failed(now.Error)
		}
		select {
		case <-ctx.Done():
			return flow{}, ctx.Err()
		case <-tick.C:
		}
	}
}
