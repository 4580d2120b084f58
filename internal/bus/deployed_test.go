package bus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

// TestDeployedServersKeepTheirPromise reads the configurations of the NATS
// servers in docker-compose.yml and deploy/k8s as the server does.
func TestDeployedServersKeepTheirPromise(t *testing.T) {
	t.Setenv("POD_NAME", "nats-0")
	keys, err := RoleKeys(filepath.Join(t.TempDir(), "nkeys"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		closed     bool
	}{
		{"compose", "compose/nats.conf", false},
		{"three servers", "k8s/components/nats/nats.conf", true},
		{"overlay dev", "k8s/overlays/dev/nats-conf.yaml", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.FromSlash("../../deploy/" + tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(tt.file, ".yaml") {
				text = patchedValue(t, text)
			}
			dir := t.TempDir()
			write := func(name, text string) {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("nats.conf", string(text))
			write("accounts/plugfn.conf", ServerConfig(keys, nil))
			opts := &server.Options{}
			if err := opts.ProcessConfigFile(filepath.Join(dir, "nats.conf")); err != nil {
				t.Fatal(err)
			}
			if !opts.JetStream || !opts.SyncAlways {
				t.Errorf("JetStream %v, every write synced %v", opts.JetStream, opts.SyncAlways)
			}
			if opts.MaxPayload < maxPayload {
				t.Errorf("it takes messages of %d bytes, and PlugFn sends some of %d", opts.MaxPayload, maxPayload)
			}
			if closed := len(opts.Accounts) > 0; closed != tt.closed {
				t.Errorf("it asks who connects: %v", closed)
			}
		})
	}
}

// patchedValue is what a patch of one operation puts in.
func patchedValue(t *testing.T, text []byte) []byte {
	t.Helper()
	var patch []struct{ Value string }
	if err := yaml.Unmarshal(text, &patch); err != nil || len(patch) != 1 {
		t.Fatal(err, patch)
	}
	return []byte(patch[0].Value)
}
