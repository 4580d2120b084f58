package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/plugfn/plugfn/cmd/plugfn/mcpserver"
	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

const (
	maxToolData = 4 << 20 // bytes that are fetched of one result; less is shown
	mcpGrace    = 5 * time.Second
)

func newMCPCommand() *cobra.Command {
	var user, addr string
	var maxResult int
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Offer the actions of a user's connections to an assistant, as MCP tools",
		Long: `Speaks the Model Context Protocol over standard input and output, for a program that
starts this one, or over HTTP. Whoever reaches it acts for the user.`,
		Example: `plugfn mcp --user u1
plugfn mcp --user u1 --http 127.0.0.1:8485`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return usage("plugfn mcp --user u1", "--user is missing: it says whose connections act")
			}
			if maxResult < 1 {
				return usage("", "--max-result %d: must be from 1", maxResult)
			}
			if err := loopback(addr); err != nil {
				return err
			}
			return serveMCP(cmd, user, addr, maxResult)
		},
	}
	cmd.Flags().StringVarP(&user, "user", "u", "", "whose connections act")
	cmd.Flags().StringVar(&addr, "http", "", "listen there, on this machine only, instead of standard input")
	cmd.Flags().IntVar(&maxResult, "max-result", 64<<10, "bytes of a result that are shown at most")
	return withTarget(settings.Bus|settings.HTTP|settings.API, cmd)
}

// loopback refuses an address that other machines reach: nobody is asked there who
// he is.
func loopback(addr string) error {
	if addr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usage("plugfn mcp --http 127.0.0.1:8485", "--http %q: must be host:port", addr)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return usage("--http 127.0.0.1:8485, and in front of it what asks who comes", "--http %q: must be an address of this machine alone, such as 127.0.0.1: whoever reaches it acts for the user", addr)
	}
	return nil
}

func serveMCP(cmd *cobra.Command, user, addr string, maxResult int) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	key, err := t.apiKey()
	if err != nil {
		return err
	}
	client, err := t.client(plugfn.WithAPI(t.httpURL(), string(key.Reveal())), plugfn.WithMaxData(maxToolData))
	if err != nil {
		return err
	}
	defer client.NATS().Close()
	defer client.Close()
	log := zerolog.New(cmd.ErrOrStderr()).With().Timestamp().Logger()
	s, err := mcpserver.New(ctx, mcpserver.Config{Client: client, User: user, Version: version, MaxResult: maxResult, Log: log})
	if err != nil {
		return err
	}
	var running errgroup.Group
	running.Go(func() error { return s.Watch(ctx) })
	running.Go(func() error {
		defer cancel() // the other side has left
		if addr == "" {
			return quiet(ctx, s.Run(ctx, &mcp.StdioTransport{}))
		}
		return listenMCP(ctx, cmd, addr, s.Handler())
	})
	return running.Wait()
}

// quiet is the error of something that ended by itself.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func listenMCP(ctx context.Context, cmd *cobra.Command, addr string, h http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return &failure{exit: exitFailure, what: "cannot listen on " + addr, cause: err, fix: "choose another --http"}
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: mcpGrace}
	hint(cmd, fmt.Sprintf("MCP at http://%s", listener.Addr()))
	stopped := context.AfterFunc(ctx, func() {
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), mcpGrace)
		defer done()
		if server.Shutdown(closing) != nil { // somebody listens on and on
			_ = server.Close()
		}
	})
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}
