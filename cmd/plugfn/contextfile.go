package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/internal/secretfile"
)

// contextName is the file by which commands find a running `plugfn dev`.
const contextName = "context.yaml"

// contextFile says where a running PlugFn is and what opens it. Paths are
// absolute.
type contextFile struct {
	HTTPURL      string `yaml:"http_url"`
	NATSURL      string `yaml:"nats_url"`
	APIKeyFile   string `yaml:"api_key_file,omitempty"`
	AdminKey     string `yaml:"admin_key,omitempty"` // as PLUGFN_NATS_NKEY
	SecretsDir   string `yaml:"secrets_dir"`
	ProvidersDir string `yaml:"providers_dir,omitempty"`
	SandboxURL   string `yaml:"sandbox_url,omitempty"`
}

func (c contextFile) write(path string) error {
	text, err := yaml.Marshal(c)
	if err == nil {
		err = secretfile.WritePrivate(path, text)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// findContext looks for the file in dataDir, or without one in .plugfn of the
// working directory and all above it. It returns the zero value if there is
// none.
func findContext(dataDir string) (contextFile, error) {
	if dataDir != "" {
		return readContext(filepath.Join(dataDir, contextName))
	}
	dir, err := os.Getwd()
	if err != nil {
		return contextFile{}, fmt.Errorf("looking for %s: %w", contextName, err)
	}
	for {
		c, err := readContext(filepath.Join(dir, ".plugfn", contextName))
		if err != nil || c != (contextFile{}) {
			return c, err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return contextFile{}, nil
		}
		dir = parent
	}
}

// readContext reads the file at path. One that somebody else could have written
// counts as none: it says where keys are sent to.
func readContext(path string) (contextFile, error) {
	var c contextFile
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !isOurs(info) {
		return c, nil
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err == nil {
		err = yaml.Unmarshal(text, &c)
	}
	if err != nil {
		return c, fmt.Errorf("reading %s: %w: remove it, plugfn dev writes it anew", path, err)
	}
	return c, nil
}
