package main

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// packTemplate is the beginning of a pack: provider.yaml and its fixtures.
//
//go:embed templates/pack
var packTemplate embed.FS

func newProviderNewCommand() *cobra.Command {
	out := "."
	cmd := &cobra.Command{
		Use:   "new <name>",
		Short: "Write a folder to begin a pack with",
		Long: "New writes <name>/provider.yaml with a read, a write and a webhook, and their fixtures, with comments that say what else there is. " +
			"It passes provider test as it is. Where there is a description of the API, provider generate drafts more.",
		Example: `plugfn provider new acme
plugfn provider new acme --out providers`,
		Args: exactly("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if !isProviderName(name) {
				return usage("", "%s: must be a-z, then up to 39 of a-z, 0-9 and -", safe(name))
			}
			folder := filepath.Join(out, name)
			if err := writePack(folder, name); err != nil {
				return err
			}
			hint(cmd, fmt.Sprintf("written: %s; to check it: plugfn provider test %s", folder, folder))
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", ".", "folder to write the pack's folder into")
	return cmd
}

// packFiles are the files of the template, by their places in a pack.
func packFiles() map[string]string {
	return map[string]string{
		"provider.yaml":                        "provider.yaml",
		"fixtures/actions/items-list.yaml":     "list.yaml",
		"fixtures/actions/items-create.yaml":   "create.yaml",
		"fixtures/actions/fail-not-found.yaml": "fail.yaml",
		"fixtures/deliveries/item.added.yaml":  "delivery.yaml",
	}
}

// writePack writes the template: all of it or nothing.
func writePack(folder, name string) (err error) {
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil { //nolint:gosec // a pack is for others to read
		return usage("", "%v", err)
	}
	if err := os.Mkdir(folder, 0o755); errors.Is(err, os.ErrExist) { //nolint:gosec // likewise
		return &failure{exit: exitConflict, what: folder + " is there already", fix: "take another name, or --out"}
	} else if err != nil {
		return usage("", "%v", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	for place, from := range packFiles() {
		text, err := packTemplate.ReadFile("templates/pack/" + from)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, filepath.FromSlash(place))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // likewise
			return err
		}
		filled := strings.NewReplacer("NAME", name, "SHOUT", strings.ToUpper(strings.ReplaceAll(name, "-", "_")), "TITLE", strings.ToUpper(name[:1])+name[1:]).Replace(string(text))
		if err := os.WriteFile(file, []byte(filled), 0o644); err != nil { //nolint:gosec // it is for others to read
			return err
		}
	}
	return nil
}
