package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/workflows"
)

// place is a problem at a place of a file.
type place struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

// String returns file:line:column: path: message, as editors read it.
func (p place) String() string {
	text := safe(p.Message)
	if p.Path != "" {
		text = safe(p.Path) + ": " + text
	}
	if p.Line > 0 {
		text = fmt.Sprintf("%d:%d: %s", p.Line, p.Column, text)
	}
	if p.File != "" && p.Line > 0 {
		return p.File + ":" + text
	}
	if p.File != "" {
		return p.File + ": " + text
	}
	return text
}

// readDefinition reads a file, - for standard input, and a name of it for
// messages.
func readDefinition(path string, stdin io.Reader) (text []byte, name string, err error) {
	in, name := stdin, "-"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, "", usage("", "%v", err)
		}
		defer f.Close()
		in, name = f, path
	}
	if text, err = io.ReadAll(io.LimitReader(in, workflow.MaxDefinition+1)); err != nil {
		return nil, "", fmt.Errorf("reading %s: %w", name, err)
	}
	return text, name, nil
}

// wrongDefinition tells what is wrong with a file, in its own words where err is
// about something else.
func wrongDefinition(file string, err error) error {
	var problems workflow.Problems
	if !errors.As(err, &problems) {
		return inFile(file, err)
	}
	f := &failure{exit: exitUsage}
	for _, p := range problems {
		f.places = append(f.places, place{file, p.Line, p.Column, p.Path, p.Message})
	}
	f.what = countProblems(len(f.places), file)
	return f
}

// inFile says in which file the places are that the server has found problems at.
func inFile(file string, err error) error {
	var f *failure
	if errors.As(err, &f) && len(f.places) > 0 {
		for i := range f.places {
			f.places[i].File = file
		}
		f.what, f.fix = countProblems(len(f.places), file), ""
	}
	return err
}

func countProblems(n int, file string) string {
	if n == 1 {
		return "one problem in " + file
	}
	return fmt.Sprintf("%d problems in %s", n, file)
}

// compileFile compiles a definition with the packs that this program knows, and
// without a server.
func compileFile(packs map[string]*providers.Pack, text []byte, file string) (*workflow.Program, error) {
	registry, err := providers.NewRegistry(packs, nil)
	if err != nil {
		return nil, err
	}
	d, err := workflow.Parse(text)
	if err != nil {
		return nil, wrongDefinition(file, err)
	}
	p, err := workflow.Compile(d, workflow.Options{Providers: registry, Schedule: workflows.CheckSchedule})
	if err != nil {
		return nil, wrongDefinition(file, err)
	}
	return p, nil
}
