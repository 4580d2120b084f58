package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

func newProviderLintCommand() *cobra.Command {
	return withOutput(&cobra.Command{
		Use:   "lint <folder>...",
		Short: "Read a pack as the program does, and its fixtures",
		Long: "Lint says everything that is wrong with a pack, each with file, line and column: unknown keys, templates and expressions that do not compile, " +
			"schemas with misspelt keywords, fixtures that no test can run. It exits with 2 where there is something.",
		Example: `plugfn provider lint providers/acme
plugfn provider lint providers/* -o json`,
		Args: atLeastOne("folder"),
		RunE: overFolders(func(_ context.Context, folder string) (packView, []place) {
			pack, wrong := loadFolder(folder)
			return packViewOf(folder, pack), wrong
		}, exitUsage),
	})
}

func newProviderTestCommand() *cobra.Command {
	return withOutput(&cobra.Command{
		Use:   "test <folder>...",
		Short: "Check that a pack does what its fixtures say",
		Long: "Test runs the suite that each built-in pack passes: what an action sends and makes of the answer, where pages lead, that parameters lead " +
			"nowhere else, that deliveries are verified and changed ones refused. Nothing is sent. It exits with 1 where a pack fails, with 2 where it cannot be read.",
		Example: "plugfn provider test providers/acme",
		Args:    atLeastOne("folder"),
		RunE: overFolders(func(ctx context.Context, folder string) (packView, []place) {
			pack, wrong := loadFolder(folder)
			v := packViewOf(folder, pack)
			if len(wrong) > 0 {
				v.unread = true
				return v, wrong
			}
			outcome := providertest.Check(ctx, pack)
			for _, p := range outcome.Problems {
				wrong = append(wrong, place{File: filepath.Join(folder, "fixtures"), Path: p.At, Message: p.Text})
			}
			v.Parts = outcome.Parts
			return v, wrong
		}, exitFailure),
	})
}

// packView is what is shown of a pack that was looked at.
type packView struct {
	Name    string `json:"name"`
	Folder  string `json:"folder"`
	Actions int    `json:"actions"`
	Events  int    `json:"events"`
	Parts   int    `json:"parts,omitempty"` // of the suite that were run

	unread bool // it is no pack
}

func packViewOf(folder string, pack *providers.Pack) packView {
	v := packView{Name: filepath.Base(folder), Folder: folder}
	if pack != nil {
		v.Name, v.Actions, v.Events = pack.Name, len(pack.Actions), len(pack.Triggers)
	}
	return v
}

// overFolders is a verb that looks at folders, each a pack.
func overFolders(look func(ctx context.Context, folder string) (packView, []place), exit exitCode) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p, err := newPrinter(cmd)
		if err != nil {
			return err
		}
		var good []packView
		f := &failure{exit: exit}
		for _, folder := range args {
			v, wrong := look(cmd.Context(), folder)
			if len(wrong) == 0 {
				good = append(good, v)
				continue
			}
			f.places = append(f.places, wrong...)
			f.what += safe(v.Name) + ", "
			if v.unread {
				f.exit = exitUsage
			}
		}
		if len(good) > 0 || len(f.places) == 0 {
			err := list(p, good, func(v packView) string { return v.Name }, []column[packView]{
				{title: "name", value: func(v packView) string { return v.Name }},
				{title: "actions", value: func(v packView) string { return fmt.Sprint(v.Actions) }},
				{title: "events", value: func(v packView) string { return fmt.Sprint(v.Events) }},
				{title: "checked", value: func(v packView) string { return checked(v) }},
				{title: "folder", wide: true, value: func(v packView) string { return v.Folder }},
			})
			if err != nil {
				return err
			}
		}
		if len(f.places) == 0 {
			return nil
		}
		f.what = fmt.Sprintf("%d problems in %s", len(f.places), strings.TrimSuffix(f.what, ", "))
		f.fix = "docs/creating-providers.md says what a pack may hold"
		return f
	}
}

func checked(v packView) string {
	if v.Parts == 0 {
		return "read"
	}
	return fmt.Sprintf("%d parts", v.Parts)
}

// loadFolder reads the pack in a folder and its fixtures, or says what is wrong.
func loadFolder(folder string) (*providers.Pack, []place) {
	abs, err := filepath.Abs(folder)
	if err != nil {
		return nil, []place{{File: folder, Message: err.Error()}}
	}
	fsys, name := os.DirFS(filepath.Dir(abs)), filepath.Base(abs)
	pack, err := providers.Load(fsys, name)
	if err != nil {
		return nil, placesOf(folder, err)
	}
	_, actions := pack.ActionFixtures()
	_, deliveries := pack.DeliveryFixtures()
	return pack, placesOf(folder, errors.Join(actions, deliveries))
}

// placesOf lists the problems of the pack in a folder.
func placesOf(folder string, err error) []place {
	if err == nil {
		return nil
	}
	var all []place
	for _, p := range providers.Problems(err) {
		file := filepath.Join(filepath.Dir(filepath.Clean(folder)), filepath.FromSlash(p.File))
		all = append(all, place{File: file, Line: p.Line, Column: p.Column, Path: p.Path, Message: p.Text})
	}
	if len(all) == 0 {
		all = []place{{File: folder, Message: err.Error()}}
	}
	return all
}
