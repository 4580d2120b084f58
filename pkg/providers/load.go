package providers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"runtime"

	"golang.org/x/sync/errgroup"
)

const (
	packFile    = "provider.yaml"
	maxPackFile = 1 << 20 // bytes of one YAML file
)

// Load reads the pack in the folder name of fsys. All its problems are one
// error, each with file, line and field.
func Load(fsys fs.FS, name string) (*Pack, error) { return load(fsys, name, false) }

// load reads a pack. The schemas of a tested one are compiled when they are
// first used.
func load(fsys fs.FS, name string, tested bool) (*Pack, error) {
	dir, err := fs.Sub(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("opening pack %s: %w", name, err)
	}
	data, err := readFile(dir, packFile)
	if err != nil {
		return nil, fmt.Errorf("reading pack %s: %w", name, err)
	}
	p := &Pack{dir: dir, document: data}
	d := &document{file: path.Join(name, packFile), tested: tested}
	d.read(data, p)
	p.link()
	p.check(name, d.report)
	if err := d.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// LoadAll reads every pack of fsys: each top folder that has a provider.yaml.
// The problems of all of them are one error.
func LoadAll(fsys fs.FS) (map[string]*Pack, error) { return loadAll(fsys, false) }

// LoadTested is LoadAll for packs that a test has read with LoadAll: it spares
// the time to look for mistakes in their schemas.
func LoadTested(fsys fs.FS) (map[string]*Pack, error) { return loadAll(fsys, true) }

func loadAll(fsys fs.FS, tested bool) (map[string]*Pack, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("listing packs: %w", err)
	}
	all, problems := make([]*Pack, len(entries)), make([]error, len(entries))
	var readers errgroup.Group
	readers.SetLimit(runtime.GOMAXPROCS(0))
	for i, e := range entries {
		if _, err := fs.Stat(fsys, path.Join(e.Name(), packFile)); err == nil {
			readers.Go(func() error {
				all[i], problems[i] = load(fsys, e.Name(), tested)
				return nil
			})
		}
	}
	_ = readers.Wait() // all problems are in problems
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	packs := map[string]*Pack{}
	for _, p := range all {
		if p != nil {
			packs[p.Name] = p
		}
	}
	return packs, nil
}

// Overlay returns the packs of base with those of over added; a pack of over
// replaces the one of the same name as a whole.
func Overlay(base, over map[string]*Pack) map[string]*Pack {
	packs := maps.Clone(base)
	if packs == nil {
		packs = map[string]*Pack{}
	}
	maps.Copy(packs, over)
	return packs
}

// link names the parts of the pack and points them back to it.
func (p *Pack) link() {
	for _, a := range p.Auth {
		a.pack = p
	}
	for name, a := range p.Actions {
		a.Name, a.pack = name, p
		a.Request.taken = a.Request.placed()
	}
	p.linkCache()
	for name, t := range p.Triggers {
		t.Name = name
	}
	if p.Webhooks != nil {
		p.Webhooks.pack = p
	}
}

// readFile reads a file that must not be larger than maxPackFile.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPackFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPackFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxPackFile)
	}
	return data, nil
}
