package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// program builds a small static program, or one with the given environment.
func program(t *testing.T, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module github.com/plugfn/plugfn\n\ngo 1.26.0\n",
		"main.go": "package main\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "plugfn")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=-mod=mod"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

func build(t *testing.T, args ...string) (tar, said string) {
	t.Helper()
	tar = filepath.Join(t.TempDir(), "image.tar")
	var out bytes.Buffer
	args = append([]string{"build", "-out", tar, "-license", "../../LICENSE", "-version", "v1.2.3", "-revision", "abc", "-created", "2026-01-02T03:04:05Z"}, args...)
	if err := run(args, &out); err != nil {
		t.Fatal(err)
	}
	return tar, out.String()
}

func TestImageIsWhatItShouldBe(t *testing.T) {
	sboms := t.TempDir()
	tar, said := build(t, "-sbom", sboms, program(t))
	if !strings.Contains(said, "ghcr.io/plugfn/plugfn@sha256:") {
		t.Errorf("it says %q", said)
	}
	var out bytes.Buffer
	if err := run([]string{"inspect", tar}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "linux/"+runtime.GOARCH) {
		t.Errorf("it says %q", out.String())
	}
	text, err := os.ReadFile(filepath.Join(sboms, "plugfn_linux_"+runtime.GOARCH+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom cdx.BOM
	if err := json.Unmarshal(text, &bom); err != nil || bom.Metadata.Component.Version != "v1.2.3" {
		t.Errorf("the SBOM is %s, %v", text, err)
	}
}

func TestSameInputMakesTheSameImage(t *testing.T) {
	p := program(t)
	one, _ := build(t, p)
	two, _ := build(t, p)
	a, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(two)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two builds of the same differ")
	}
}

func TestImageOfSeveralPlatforms(t *testing.T) {
	tar, _ := build(t, program(t, "GOARCH=amd64"), program(t, "GOARCH=arm64"))
	var out bytes.Buffer
	if err := run([]string{"inspect", tar}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "linux/amd64") || !strings.Contains(out.String(), "linux/arm64") {
		t.Errorf("it says %q", out.String())
	}
}

func TestInspectFindsWhatIsWrong(t *testing.T) {
	content, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(program(t, "GOARCH="+map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(map[string]file)
		want   string
	}{
		{"shell", func(f map[string]file) { f["bin/sh"] = file{mode: 0o755, content: content} }, "bin/sh can be run"},
		{"setuid", func(f map[string]file) { f["etc/x"] = file{mode: 0o4644, content: content} }, "setuid"},
		{"writable", func(f map[string]file) { f["etc/x"] = file{mode: 0o666, content: content} }, "written by everybody"},
		{"no roots", func(f map[string]file) { f[rootsPath] = file{} }, "0 certificates"},
		{"no SBOM", func(f map[string]file) { f[sbomPath] = file{content: []byte("{}")} }, "does not list"},
		{"store of root", func(f map[string]file) { f[storePath] = file{mode: 0o700} }, "must belong to 65532"},
		{"other machine", func(f map[string]file) { f[programPath] = file{mode: 0o755, content: other} }, "the image for"},
		{"no program", func(f map[string]file) {
			f[programPath] = file{mode: 0o755, content: []byte("#!/bin/sh\nexec something\n")}
		}, "bad magic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]file{}
			for _, f := range baseFiles([]byte("licence")) {
				files[f.name] = f
			}
			info, err := buildinfo.Read(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			sbom, err := makeSBOM(release{version: "v1"}, info, content)
			if err != nil {
				t.Fatal(err)
			}
			files[sbomPath], files[programPath] = file{content: sbom}, file{mode: 0o755, content: content}
			if err := checkFiles(files, runtime.GOARCH); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(files)
			if err := checkFiles(files, runtime.GOARCH); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	cfg := settings()
	cfg.User, cfg.Labels = "plugfn", release{version: "v1", revision: "x", created: time.Unix(0, 0)}.labels()
	if err := checkConfig(cfg); err == nil || !strings.Contains(err.Error(), "must be 65532:65532") {
		t.Errorf("a user by name: %v", err)
	}
	cfg.User, cfg.Labels = "65532:65532", nil
	if err := checkConfig(cfg); err == nil || !strings.Contains(err.Error(), "label org.opencontainers.image.title") {
		t.Errorf("without labels: %v", err)
	}
}

func TestInspectNoticesADamagedTar(t *testing.T) {
	tar, _ := build(t, program(t))
	content, err := os.ReadFile(tar)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(content, []byte("org.opencontainers.image.title")) // in a manifest, the digest of which is its name
	content[at] = 'O'
	if err := os.WriteFile(tar, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"inspect", tar}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("got %v", err)
	}
}
