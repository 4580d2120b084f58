package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/codegen"
	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/providers"
)

func newGenerateCommand() *cobra.Command {
	return noun("generate", "gen", "Write code for a provider: types for its actions and events", newGenerateGoCommand(), newGenerateTSCommand())
}

// generation is what a verb of generate was asked for.
type generation struct{ provider, pack, out, pkg string }

func (g *generation) flags(cmd *cobra.Command, out string) *cobra.Command {
	cmd.Flags().StringVar(&g.provider, "provider", "", "the provider")
	cmd.Flags().StringVar(&g.pack, "pack", "", "the folder of its pack, where it is not one of those that PlugFn knows")
	cmd.Flags().StringVar(&g.out, "out", "", out)
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.Packs, withOutput(cmd))
}

func newGenerateGoCommand() *cobra.Command {
	g := &generation{}
	cmd := &cobra.Command{
		Use:   "go",
		Short: "Write a Go package: a method for each action, a function for each event",
		Example: `plugfn generate go --provider github --out ./gh
plugfn generate go --pack ./providers/acme --out ./acme`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.run(cmd, func(api *codegen.API) (map[string][]byte, error) {
				pkg, err := g.packageName()
				if err != nil {
					return nil, err
				}
				return codegen.Go(api, pkg)
			})
		},
	}
	cmd.Flags().StringVar(&g.pkg, "package", "", "the name of the package; without it that of the folder")
	return g.flags(cmd, "the folder of the package, which is made where it is not there")
}

func newGenerateTSCommand() *cobra.Command {
	g := &generation{}
	return g.flags(&cobra.Command{
		Use:     "ts",
		Short:   "Write types of TypeScript for parameters, data, events and subjects",
		Example: `plugfn generate ts --provider github --out ./github.d.ts`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.run(cmd, func(api *codegen.API) (map[string][]byte, error) {
				name := filepath.Base(g.out)
				if !strings.HasSuffix(name, ".d.ts") {
					return nil, usage(cmd.CommandPath()+" --out "+api.Provider+".d.ts", "--out %q: must be a file that ends in .d.ts", g.out)
				}
				g.out = filepath.Dir(g.out)
				return map[string][]byte{name: codegen.TypeScript(api)}, nil
			})
		},
	}, "the file, such as github.d.ts")
}

// run makes files and writes them to the folder g.out.
func (g *generation) run(cmd *cobra.Command, generate func(*codegen.API) (map[string][]byte, error)) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	if g.out == "" {
		return usage(cmd.CommandPath()+" --help", "--out is missing: it says where to write")
	}
	pack, err := g.load(cmd)
	if err != nil {
		return err
	}
	api, err := codegen.Read(pack)
	if err != nil {
		return fmt.Errorf("generating code for %s: %w", pack.Name, err)
	}
	files, err := generate(api)
	if err != nil {
		return err
	}
	written, err := g.write(files)
	if err != nil {
		return err
	}
	return list(p, written, func(w writtenFile) string { return w.File }, []column[writtenFile]{
		{title: "file", value: func(w writtenFile) string { return w.File }},
		{title: "bytes", value: func(w writtenFile) string { return fmt.Sprint(w.Bytes) }},
		{title: "changed", value: func(w writtenFile) string { return fmt.Sprint(w.Changed) }},
	})
}

func (g *generation) load(cmd *cobra.Command) (*providers.Pack, error) {
	switch {
	case g.provider == "" && g.pack == "":
		return nil, usage(cmd.CommandPath()+" --provider github", "--provider is missing, or --pack")
	case g.pack != "":
		dir, err := filepath.Abs(g.pack)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", g.pack, err)
		}
		pack, err := providers.Load(os.DirFS(filepath.Dir(dir)), filepath.Base(dir))
		if err != nil {
			return nil, &failure{exit: exitUsage, what: "the pack in " + g.pack + " cannot be used", cause: err}
		}
		if g.provider != "" && g.provider != pack.Name {
			return nil, usage("--provider "+pack.Name, "the pack in %s is that of %s, not of %s", g.pack, pack.Name, g.provider)
		}
		return pack, nil
	}
	t, err := newTarget(cmd)
	if err != nil {
		return nil, err
	}
	packs, err := t.packs()
	if err != nil {
		return nil, err
	}
	return packNamed(packs, g.provider)
}

// packageName is the name of the Go package.
func (g *generation) packageName() (string, error) {
	name := g.pkg
	if name == "" {
		dir, err := filepath.Abs(g.out)
		if err != nil {
			return "", fmt.Errorf("finding %s: %w", g.out, err)
		}
		name = strings.ToLower(regexp.MustCompile(`[^A-Za-z0-9]`).ReplaceAllString(filepath.Base(dir), ""))
	}
	if !codegen.IsPackageName(name) {
		return "", usage("--package NAME", "%q cannot be the name of a Go package", name)
	}
	return name, nil
}

// writtenFile is what is said of a file that was written.
type writtenFile struct {
	File    string `json:"file"`
	Bytes   int    `json:"bytes"`
	Changed bool   `json:"changed"`
}

// write writes what has changed, and removes what was generated before and is no
// more. What somebody else has written stays.
func (g *generation) write(files map[string][]byte) ([]writtenFile, error) {
	if err := os.MkdirAll(g.out, 0o755); err != nil { //nolint:gosec // source code, for whoever may read the folder
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	var written []writtenFile
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, text := filepath.Join(g.out, name), files[name]
		have, err := os.ReadFile(path)
		if err == nil && !bytes.HasPrefix(have, []byte(codegen.Mark)) {
			return nil, &failure{exit: exitUsage, what: path + " was not generated and stays as it is", fix: "choose another --out, or remove it"}
		}
		changed := err != nil || !bytes.Equal(have, text)
		if changed {
			if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // likewise
				return nil, fmt.Errorf("writing: %w", err)
			}
		}
		written = append(written, writtenFile{path, len(text), changed})
	}
	return written, g.removeStale(files)
}

// removeStale removes Go files of an earlier time that are not among files.
func (g *generation) removeStale(files map[string][]byte) error {
	there, err := filepath.Glob(filepath.Join(g.out, "*.go"))
	if err != nil {
		return fmt.Errorf("listing %s: %w", g.out, err)
	}
	for _, path := range there {
		if _, ok := files[filepath.Base(path)]; ok || filepath.Ext(slices.Collect(maps.Keys(files))[0]) != ".go" {
			continue
		}
		text, err := os.ReadFile(path)
		if err == nil && bytes.HasPrefix(text, []byte(codegen.Mark)) {
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("removing what is no more generated: %w", err)
		}
	}
	return nil
}
