package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

const (
	healthPatience = 3 * time.Second
	maxHealth      = 16 << 10 // bytes of what a server says about itself
)

func newHealthcheckCommand() *cobra.Command {
	patience := healthPatience
	cmd := &cobra.Command{
		Use:   "healthcheck [ready|live|started]",
		Short: "Ask the server on this machine how it is, for probes of containers",
		Long: "Healthcheck asks the server that listens at PLUGFN_HTTP_ADDR on this machine, in its container for instance, " +
			"whether it takes work (ready, the default), answers at all (live), or was ready once (started). " +
			"It exits with 0 if so; otherwise standard error says what is missing.",
		Example: `plugfn healthcheck
plugfn healthcheck live --http-addr 127.0.0.1:8484`,
		ValidArgs: []string{"ready", "live", "started"},
		Args: func(cmd *cobra.Command, args []string) error {
			return errors.Join(atMostOne(cmd, args), oneOf("ready", "live", "started")(cmd, args))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := loadSettings(cmd, nil)
			if err != nil {
				return err
			}
			address, err := localAddress(s.HTTPAddr)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), patience)
			defer cancel()
			return askHealth(ctx, "http://"+address+healthPath(args))
		},
	}
	settings.AddFlags(cmd.Flags(), settings.Health)
	cmd.Flags().DurationVar(&patience, "timeout", healthPatience, "how long to wait for an answer")
	return cmd
}

func healthPath(args []string) string {
	switch strings.Join(args, "") {
	case "live":
		return "/livez"
	case "started":
		return "/startupz?verbose"
	default:
		return "/readyz?verbose"
	}
}

// localAddress is where this machine reaches a server that listens at addr.
func localAddress(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		return "", usage("set PLUGFN_HTTP_ADDR to the address that the server has", "%q is no address to ask at", addr)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// askHealth returns nil for an answer of 200.
func askHealth(ctx context.Context, url string) error {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	reply, err := client.Do(ask)
	if err != nil {
		return &failure{exit: exitUnreachable, what: "the server does not answer", cause: err}
	}
	defer reply.Body.Close()
	if reply.StatusCode == http.StatusOK {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(reply.Body, maxHealth)) // what there is of it
	var missing []string
	for line := range strings.Lines(string(text)) {
		if what, ok := strings.CutPrefix(strings.TrimSpace(line), "[-] "); ok {
			missing = append(missing, safe(what))
		}
	}
	return &failure{
		exit: exitUnreachable, what: fmt.Sprintf("the server is not ready, status %d", reply.StatusCode),
		cause: errors.New(firstOf(strings.Join(missing, "; "), "it does not say why")),
	}
}
