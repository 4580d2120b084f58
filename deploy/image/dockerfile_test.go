package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// dockerfile reads the Dockerfile as an engine does, and fails for what
// BuildKit's linter has to say about its lines.
func dockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	f, err := os.Open("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) { t.Errorf("Dockerfile: %s: %s", rule, message) }})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// TestDockerfileMakesTheSameImage compares the last stage with what this program
// makes.
func TestDockerfileMakesTheSameImage(t *testing.T) {
	stages := dockerfile(t)
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		t.Errorf("the image is made from %s", last.BaseName)
	}
	got := v1.Config{Labels: map[string]string{}, ExposedPorts: map[string]struct{}{}, Volumes: map[string]struct{}{}}
	for _, command := range last.Commands {
		apply(&got, command)
	}
	want := settings()
	want.Labels = release{}.labels()
	for _, c := range []*v1.Config{&got, &want} { // the values come from build arguments
		for _, name := range []string{"version", "revision", "created"} {
			c.Labels["org.opencontainers.image."+name] = ""
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("image build and the Dockerfile differ:\n%s", diff)
	}
}

func apply(c *v1.Config, command instructions.Command) {
	switch i := command.(type) {
	case *instructions.LabelCommand:
		for _, l := range i.Labels {
			c.Labels[l.Key] = strings.Trim(l.Value, `"`)
		}
	case *instructions.EnvCommand:
		for _, e := range i.Env {
			c.Env = append(c.Env, e.Key+"="+e.Value)
		}
	case *instructions.WorkdirCommand:
		c.WorkingDir = i.Path
	case *instructions.VolumeCommand:
		for _, v := range i.Volumes {
			c.Volumes[v] = struct{}{}
		}
	case *instructions.ExposeCommand:
		for _, p := range i.Ports {
			c.ExposedPorts[p] = struct{}{}
		}
	case *instructions.UserCommand:
		c.User = i.User
	case *instructions.StopSignalCommand:
		c.StopSignal = i.Signal
	case *instructions.EntrypointCommand:
		c.Entrypoint = i.CmdLine
	case *instructions.CmdCommand:
		c.Cmd = i.CmdLine
	case *instructions.HealthCheckCommand:
		h := i.Health
		c.Healthcheck = &v1.HealthConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	}
}

// TestDockerfileCopiesWhatThereIs: stages have names that are used, and the
// context holds what the build wants.
func TestDockerfileCopiesWhatThereIs(t *testing.T) {
	stages := dockerfile(t)
	known := map[string]bool{}
	for _, stage := range stages {
		if strings.HasSuffix(stage.BaseName, ":latest") || stage.BaseName != "scratch" && !strings.Contains(stage.BaseName, ":") {
			t.Errorf("stage %s is made from %s, which may change", stage.Name, stage.BaseName)
		}
		for _, command := range stage.Commands {
			if c, ok := command.(*instructions.CopyCommand); ok && c.From != "" && !known[c.From] {
				t.Errorf("it copies from %s, which is no stage before", c.From)
			}
			if run, ok := command.(*instructions.RunCommand); ok && stage.BaseName == "scratch" {
				t.Errorf("it runs %q where there is no shell", run.CmdLine)
			}
		}
		known[stage.Name] = true
	}
	text, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			kept = append(kept, name)
			if _, err := os.Stat("../../" + name); err != nil {
				t.Error(err)
			}
		}
	}
	want := map[string]bool{"cmd": true, "internal": true, "pkg": true, "services": true, "go.mod": true, "go.sum": true, "LICENSE": true}
	if !slices.Equal(slices.Sorted(slices.Values(kept)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("the context holds %q", kept)
	}
}
