package validate

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	composetypes "github.com/compose-spec/compose-go/v2/types"
)

// roles are what `plugfn serve` takes.
var roles = []string{"ingress", "executor", "auth", "scheduler"}

// project reads docker-compose.yml as docker compose does, with a .env that was
// copied from the example and filled in.
func project(t *testing.T) *composetypes.Project {
	t.Helper()
	env := filepath.Join(t.TempDir(), ".env")
	text := read(t, ".env.example")
	for _, name := range []string{"PLUGFN_API_KEY", "PLUGFN_KEK"} {
		if !strings.Contains(text, "\n"+name+"=\n") {
			t.Errorf(".env.example does not ask for %s", name)
		}
		text = strings.ReplaceAll(text, "\n"+name+"=\n", "\n"+name+"=0123456789abcdef\n")
	}
	if err := os.WriteFile(env, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "docker-compose.yml") // env_file is beside it
	content := strings.ReplaceAll(read(t, "docker-compose.yml"), "path: .env\n", "path: "+env+"\n")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(root), cli.WithEnvFiles(env), cli.WithDotEnv, cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeHasWhatPlugFnNeeds(t *testing.T) {
	p, v := project(t), readVariables(t)
	for _, role := range roles {
		s, ok := p.Services[role]
		if !ok {
			t.Errorf("there is no service %s", role)
			continue
		}
		if !slices.Equal(s.Command, []string{"serve", role}) {
			t.Errorf("%s runs %q", role, s.Command)
		}
		if s.HealthCheck == nil || !slices.Equal(s.HealthCheck.Test, []string{"CMD", "/usr/local/bin/plugfn", "healthcheck"}) {
			t.Errorf("%s has no health check of PlugFn", role)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.User != "" {
			t.Errorf("%s is not confined as the image allows", role)
		}
		checkDrain(t, role, s)
		for name, value := range s.Environment {
			if value != nil {
				v.check(t, role, name, *value)
			}
		}
		if key := s.Environment["PLUGFN_API_KEY"]; key == nil || *key == "" {
			t.Errorf("%s would make an API key of its own", role)
		}
		if !slices.ContainsFunc(s.Volumes, func(m composetypes.ServiceVolumeConfig) bool {
			return m.Type == "volume" && m.Target == *s.Environment["PLUGFN_DATA_DIR"]
		}) {
			t.Errorf("%s keeps its data directory in no volume", role)
		}
	}
}

// checkDrain makes sure that a service has the time to stop: HTTP, the work in
// hand and the bus each may take as long as the drain timeout.
func checkDrain(t *testing.T, name string, s composetypes.ServiceConfig) {
	t.Helper()
	drain, err := time.ParseDuration(*s.Environment["PLUGFN_DRAIN_TIMEOUT"])
	if err != nil {
		t.Error(err)
	}
	if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < 3*drain {
		t.Errorf("%s is killed after %v, and may drain for three times %s", name, s.StopGracePeriod, drain)
	}
}

func TestComposeStartsInOrder(t *testing.T) {
	p := project(t)
	for name, s := range p.Services {
		for on, how := range s.DependsOn {
			dependency, ok := p.Services[on]
			if !ok {
				t.Errorf("%s depends on %s, which there is not", name, on)
			}
			if how.Condition == composetypes.ServiceConditionHealthy && dependency.HealthCheck == nil {
				t.Errorf("%s waits until %s is healthy, which says nothing", name, on)
			}
		}
	}
	for name, want := range map[string][]string{
		"executor": {"nats", "redis"}, "auth": {"nats"}, "scheduler": {"nats"}, "proxy": roles,
	} {
		for _, on := range want {
			if p.Services[name].DependsOn[on].Condition != composetypes.ServiceConditionHealthy {
				t.Errorf("%s does not wait until %s is healthy", name, on)
			}
		}
	}
	if len(p.Services["ingress"].DependsOn) > 0 {
		t.Error("ingress waits, although it takes deliveries while the bus is away")
	}
}

// TestComposeIsClosed: nothing is published beyond this machine, images are
// pinned, and the files that are mounted are there.
func TestComposeIsClosed(t *testing.T) {
	p := project(t)
	pinned := regexp.MustCompile(`:v?\d+(\.\d+)*(-[a-z]+)?$`)
	for name, s := range p.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s to other machines", name, port.Published)
			}
		}
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s runs %s, which may change", name, s.Image)
		}
		if s.Privileged || s.NetworkMode == "host" || s.Pid == "host" {
			t.Errorf("%s is not contained", name)
		}
		for _, m := range s.Volumes {
			if m.Type != "bind" {
				continue
			}
			if info, err := os.Stat(m.Source); err != nil || info.IsDir() || !m.ReadOnly {
				t.Errorf("%s mounts %s: %v", name, m.Source, err)
			}
		}
	}
	for service, profile := range map[string]string{"sandbox": "sandbox", "prometheus": "observability", "grafana": "observability"} {
		if !slices.Equal(p.Services[service].Profiles, []string{profile}) {
			t.Errorf("%s is in the profiles %q", service, p.Services[service].Profiles)
		}
	}
}

// TestProxyPassesToServices reads the addresses of Caddyfile and prometheus.yml.
func TestProxyPassesToServices(t *testing.T) {
	p := project(t)
	address := regexp.MustCompile(`\b([a-z]+):8484\b`)
	for _, file := range []string{"deploy/compose/Caddyfile", "deploy/observability/prometheus.yml"} {
		seen := map[string]bool{}
		for _, m := range address.FindAllStringSubmatch(read(t, file), -1) {
			seen[m[1]] = true
			if _, ok := p.Services[m[1]]; !ok {
				t.Errorf("%s: there is no service %s", file, m[1])
			}
		}
		if len(seen) < 3 {
			t.Errorf("%s names only %v", file, seen)
		}
	}
}
