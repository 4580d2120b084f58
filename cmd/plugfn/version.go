package main

import (
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
)

// buildInfo says what this program was made from.
type buildInfo struct {
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	Go         string `json:"go"`
	NATSServer string `json:"nats_server"`

	commit string
}

func build() buildInfo {
	b := buildInfo{Version: version, Go: runtime.Version(), NATSServer: server.VERSION}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	b.Commit = b.commit
	if dirty {
		b.Commit += " with changes"
	}
	return b
}

func newVersionCommand() *cobra.Command {
	return withOutput(&cobra.Command{
		Use:   "version",
		Short: "Say which PlugFn this is",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(cmd)
			if err != nil {
				return err
			}
			b := build()
			return p.object(b, b.Version, []field{
				{"plugfn", b.Version}, {"commit", b.Commit}, {"go", b.Go}, {"nats-server", b.NATSServer},
			})
		},
	})
}
