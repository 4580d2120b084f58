package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
)

func newStreamCommand() *cobra.Command {
	return noun("stream", "streams", "Make and look at what PlugFn keeps on its NATS server",
		newStreamApplyCommand(), newStreamListCommand(), newStreamExportCommand())
}

func newStreamApplyCommand() *cobra.Command {
	return withTarget(settings.Bus|settings.Streams, withOutput(&cobra.Command{
		Use:   "apply",
		Short: "Make the streams and buckets, or bring them up to the settings",
		Long: "Apply does on a NATS server outside what a server with the admin's key does when it starts. Services that have only " +
			"the key of their role need it once, and after each upgrade: it never deletes a message. It may be repeated.",
		Example: "plugfn stream apply --nats-url nats://nats:4222 --nats-nkey nkeys --durability ha",
		Args:    noArgs,
		RunE: streamRun(func(cmd *cobra.Command, p *printer, b *bus.Bus, all []jetstream.StreamConfig) error {
			hint(cmd, fmt.Sprintf("%d streams are as they should be: %s", len(all), b.Promise()))
			return listStreams(cmd.Context(), p, b.JetStream(), all)
		}),
	}))
}

func newStreamListCommand() *cobra.Command {
	return withTarget(settings.Bus, withOutput(&cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "status"},
		Short:   "List the streams and buckets, and how full they are",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(cmd)
			if err != nil {
				return err
			}
			t, err := newTarget(cmd)
			if err != nil {
				return err
			}
			all, err := t.assets()
			if err != nil {
				return err
			}
			conn, err := t.connect()
			if err != nil {
				return err
			}
			defer conn.Close()
			js, err := jetstream.New(conn)
			if err != nil {
				return err
			}
			return listStreams(cmd.Context(), p, js, all)
		},
	}))
}

// assets are the streams that the settings mean.
func (t *target) assets() ([]jetstream.StreamConfig, error) {
	return bus.Assets(t.settings.Durability, t.settings.StreamMaxBytes)
}

// streamRun is a verb on a bus that was opened as admin, and so has everything.
func streamRun(do func(*cobra.Command, *printer, *bus.Bus, []jetstream.StreamConfig) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		p, err := newPrinter(cmd)
		if err != nil {
			return err
		}
		t, err := newTarget(cmd)
		if err != nil {
			return err
		}
		all, err := t.assets()
		if err != nil {
			return err
		}
		b, err := bus.Open(cmd.Context(), bus.Config{
			URL: t.natsURL(), Credentials: t.settings.NATSCreds, NKey: t.natsKey(), Name: "plugfn-cli",
			Durability: t.settings.Durability, MaxBytes: t.settings.StreamMaxBytes,
		})
		if err != nil {
			return &failure{exit: exitUnreachable, what: "the bus does not open", cause: err, fix: startFix}
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), dialTimeout)
			defer cancel()
			err = errors.Join(err, b.Close(ctx))
		}()
		return do(cmd, p, b, all)
	}
}

// storedStream is a stream as it stands.
type storedStream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"` // -1: no limit of its own
	Replicas int    `json:"replicas"`
	Leader   string `json:"leader,omitempty"`
}

func listStreams(ctx context.Context, p *printer, js jetstream.JetStream, all []jetstream.StreamConfig) error {
	var rows []storedStream
	for _, want := range all {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		stream, err := js.Stream(ctx, want.Name)
		cancel()
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return &failure{exit: exitNotFound, what: "there is no stream " + want.Name, fix: "plugfn stream apply"}
		}
		if err != nil {
			return &failure{exit: exitUnreachable, what: "stream " + want.Name + " cannot be seen", cause: err, fix: startFix}
		}
		info := stream.CachedInfo()
		row := storedStream{
			Name: want.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes, Replicas: info.Config.Replicas,
		}
		if info.Cluster != nil {
			row.Leader = info.Cluster.Leader
		}
		rows = append(rows, row)
	}
	return list(p, rows, func(s storedStream) string { return s.Name }, []column[storedStream]{
		{title: "stream", value: func(s storedStream) string { return s.Name }},
		{title: "messages", value: func(s storedStream) string { return fmt.Sprint(s.Messages) }},
		{title: "bytes", value: func(s storedStream) string { return fmt.Sprint(s.Bytes) }},
		{title: "full", value: func(s storedStream) string { return s.full() }},
		{title: "copies", value: func(s storedStream) string { return fmt.Sprint(s.Replicas) }},
		{title: "leader", wide: true, value: func(s storedStream) string { return safe(s.Leader) }},
	})
}

func (s storedStream) full() string {
	if s.MaxBytes <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(s.Bytes)/float64(s.MaxBytes))
}
