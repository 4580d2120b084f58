package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/house"
	"github.com/plugfn/plugfn/pkg/providers"
)

func newSandboxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Play the providers, for a PlugFn that runs elsewhere",
		Long: "Sandbox answers as the providers do, from the examples in their packs, as in plugfn dev. Have PlugFn call it with " +
			"PLUGFN_<PROVIDER>_BASE_URL=http://<this address>/<provider>.\n\n" +
			"With PLUGFN_HTTP_URL it also connects the user \"" + demoUser + "\" to each provider there, as soon as PlugFn answers. " +
			"It asks nobody for a credential and is for trying things out.",
		Example: `plugfn sandbox --http-addr 127.0.0.1:8500
PLUGFN_GITHUB_BASE_URL=http://127.0.0.1:8500/github plugfn serve`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := loadSettings(cmd, nil)
			if err != nil {
				return err
			}
			if s.HTTPURL != "" && s.APIKey.IsZero() {
				return usage("set PLUGFN_API_KEY to that of the server", "PLUGFN_HTTP_URL: connecting %s there needs the API key", demoUser)
			}
			return playAlone(cmd.Context(), s, newLog(s, os.Stderr))
		},
	}
	settings.AddFlags(cmd.Flags(), settings.Health|settings.API|settings.Packs)
	return cmd
}

// playAlone plays the providers until ctx ends, and connects the demo user where
// there is a PlugFn for that.
func playAlone(ctx context.Context, s *settings.Settings, log zerolog.Logger) error {
	packs, err := house.Packs(s.ProvidersDir)
	if err != nil {
		return err
	}
	stage := house.StageConfig{Log: log, Packs: packs, Addr: s.HTTPAddr}
	if s.HTTPURL != "" {
		api := &apiClient{base: s.HTTPURL, key: s.APIKey, http: &http.Client{Timeout: answerTimeout}}
		stage.Prepare = func(ctx context.Context, played []string) error {
			defer api.http.CloseIdleConnections()
			return connectDemos(ctx, api, packs, played)
		}
	}
	return house.RunStage(ctx, stage)
}

// connectDemos connects the demo user to each of the providers, unless he is.
func connectDemos(ctx context.Context, api *apiClient, packs map[string]*providers.Pack, names []string) error {
	for _, name := range names {
		if err := connectDemo(ctx, api, packs[name]); err != nil {
			return fmt.Errorf("connecting user %s to the sandbox of %s: %w", demoUser, name, err)
		}
	}
	return nil
}
