package draft

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxDocument = 1000 << 10 // bytes of provider.yaml: pkg/providers reads 1 MiB
	maxTries    = 12
)

// ErrExists says that there is a folder of that name already.
var ErrExists = errors.New("is there already")

// Write puts the pack into the folder dir/NAME, with a fixture for each action.
// It is written beside it first and moved there when pkg/providers reads it; if
// anything fails, nothing is changed. Without force a folder that is there stays.
func (d *Draft) Write(dir string, force bool) (folder string, err error) {
	folder = filepath.Join(dir, d.Name)
	if _, err := os.Lstat(folder); err == nil && !force {
		return "", fmt.Errorf("%s: %w", folder, ErrExists)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a pack is for others to read
		return "", err
	}
	work, err := os.MkdirTemp(dir, "."+d.Name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, d.Name)
	if err := os.MkdirAll(filepath.Join(made, "fixtures", "actions"), 0o755); err != nil { //nolint:gosec // likewise
		return "", err
	}
	pack, err := d.writePack(work)
	if err != nil {
		return "", err
	}
	if err := d.writeFixtures(pack, made); err != nil {
		return "", err
	}
	if _, err := pack.ActionFixtures(); err != nil {
		return "", fmt.Errorf("the fixtures that were made cannot be read: %w", err)
	}
	return folder, moveInto(made, folder, work)
}

// moveInto puts a folder where another one may be.
func moveInto(made, folder, work string) error {
	old := filepath.Join(work, "old")
	if err := os.Rename(folder, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Rename(made, folder)
	if err != nil {
		_ = os.Rename(old, folder) // what was there stays
	}
	return err
}

// writePack writes provider.yaml and reads it. Schemas lose levels until it fits,
// and actions that pkg/providers complains of are left out.
func (d *Draft) writePack(work string) (*providers.Pack, error) {
	for range maxTries {
		data, err := d.fitting()
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(work, d.Name, "provider.yaml"), data, 0o644); err != nil { //nolint:gosec // likewise
			return nil, err
		}
		pack, broken := providers.Load(os.DirFS(work), d.Name)
		if broken == nil {
			return pack, nil
		}
		if !d.dropBroken(broken) {
			return nil, fmt.Errorf("the pack that was made cannot be read: %w", broken)
		}
	}
	return nil, errors.New("the pack that was made cannot be read, however many actions are left out")
}

// fitting is the document, as deep as its size allows.
func (d *Draft) fitting() ([]byte, error) {
	for levels := maxLevels; levels > 0; levels-- {
		data, err := d.document(levels)
		if err != nil {
			return nil, err
		}
		if len(data) <= maxDocument {
			if levels < maxLevels {
				d.note("params", "schemas are cut at %d levels so that provider.yaml stays below %d bytes", levels, maxDocument)
			}
			return data, nil
		}
	}
	return nil, fmt.Errorf("%d actions make more than %d bytes of provider.yaml: choose with --select, or lower --max-actions", len(d.Actions), maxDocument)
}

// dropBroken leaves out the actions that an error is about.
func (d *Draft) dropBroken(broken error) bool {
	before := len(d.Actions)
	for line := range strings.SplitSeq(broken.Error(), "\n") {
		d.Actions = slices.DeleteFunc(d.Actions, func(act *Action) bool {
			_, why, is := strings.Cut(line, ": actions."+act.Name+".")
			if is {
				d.note(act.op.place(), "left out: %s", clip(why, 200))
			}
			return is
		})
	}
	return len(d.Actions) < before && len(d.Actions) > 0
}

func (d *Draft) writeFixtures(pack *providers.Pack, made string) error {
	failure := false
	for _, act := range d.Actions {
		data, err := d.fixture(pack, act)
		if err != nil {
			d.note(act.op.place(), "has no fixture: write one for %s (%s)", act.Name, clip(err.Error(), 120))
			continue
		}
		file := func(name string) string { return filepath.Join(made, "fixtures", "actions", name+".yaml") }
		name := strings.ToLower(strings.ReplaceAll(act.Name, ".", "-"))
		if err := os.WriteFile(file(name), data, 0o644); err != nil { //nolint:gosec // likewise
			return err
		}
		if failure {
			continue
		}
		if data, err = d.failure(pack, act, data); err != nil {
			return err
		}
		if err := os.WriteFile(file("fail-unauthorized"), data, 0o644); err != nil { //nolint:gosec // likewise
			return err
		}
		failure = true
	}
	return nil
}
