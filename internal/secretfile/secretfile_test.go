package secretfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/internal/secretfile"
)

func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets", "s")
	first, created, err := secretfile.Keep(path)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	second, created, err := secretfile.Keep(path)
	if err != nil || created || !first.Equal(second) {
		t.Errorf("the second time: made %v, the same %v, %v", created, first.Equal(second), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := secretfile.Keep(path); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := secretfile.Read(path); err == nil || strings.Contains(err.Error(), "remove it") { // nobody makes it anew
		t.Errorf("an empty file of somebody's own: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
