package settings

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/providers"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// write makes a file in a temporary directory and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := write(t, "plugfn.yaml", "http: {addr: 'file:1'}\n")
	environ := []string{"PLUGFN_CONFIG=" + file}
	tests := []struct {
		name  string
		flags map[string]string
		env   []string
		want  string
	}{
		{"default", nil, nil, "127.0.0.1:8484"},
		{"file over default", nil, environ, "file:1"},
		{"file named by flag", map[string]string{"config": file}, []string{"PLUGFN_CONFIG=/nowhere"}, "file:1"},
		{"environment over file", nil, append(environ, "PLUGFN_HTTP_ADDR=env:2"), "env:2"},
		{"flag over environment", map[string]string{"http-addr": "flag:3"}, append(environ, "PLUGFN_HTTP_ADDR=env:2"), "flag:3"},
		{"empty variable is not set", nil, append(environ, "PLUGFN_HTTP_ADDR="), "file:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Load(Source{Flags: tt.flags, Environ: tt.env})
			if err != nil {
				t.Fatal(err)
			}
			if s.HTTPAddr != tt.want {
				t.Errorf("got %s, want %s", s.HTTPAddr, tt.want)
			}
		})
	}
}

func TestEveryRowFromFileAndEnvironment(t *testing.T) {
	values := map[string]string{
		"PLUGFN_HTTP_ADDR": "0.0.0.0:1", "PLUGFN_HTTP_URL": "https://plugfn.example", "PLUGFN_PUBLIC_URL": "https://plugfn.example",
		"PLUGFN_RETURN_TO": "https://a.example,https://b.example/c", "PLUGFN_NATS_ADDR": "-",
		"PLUGFN_DURABILITY": "ha", "PLUGFN_STREAM_MAX_BYTES": "3GiB", "PLUGFN_API_KEY": "0123456789abcdef",
		"PLUGFN_LOG_LEVEL": "debug", "PLUGFN_LOG_FORMAT": "json", "PLUGFN_INGRESS_MAX_BYTES": "1048576", "PLUGFN_SPOOL_MAX_BYTES": "2GiB", "PLUGFN_INGRESS_RATE": "9",
		"PLUGFN_INGRESS_MAX_IN_FLIGHT": "7", "PLUGFN_EXECUTOR_MAX_IN_FLIGHT": "8", "PLUGFN_EXECUTOR_MAX_PER_USER": "6", "PLUGFN_DRAIN_TIMEOUT": "90s", "PLUGFN_HEAL_EVERY": "7m", "PLUGFN_SCHEDULES_PER_USER": "11", "PLUGFN_WORKFLOWS_PER_USER": "12", "PLUGFN_RUNS_PER_USER": "13", "PLUGFN_STEPS_PER_USER": "14",
		"PLUGFN_NATS_SECURE": "true", "PLUGFN_ALLOW_PRIVATE_CIDRS": "10.0.0.0/8, fd00::1",
	}
	var environ []string
	var file strings.Builder
	for _, v := range Table() {
		if v.Key == "" {
			continue
		}
		value := values[v.Name]
		if value == "" {
			value = "some/text"
		}
		environ = append(environ, v.Name+"="+value)
		file.WriteString(v.Key + ": " + value + "\n") // a dotted key is the same as a nested one
	}
	fromEnv, err := Load(Source{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	fromFile, err := Load(Source{Flags: map[string]string{"config": write(t, "c.yaml", strings.ReplaceAll(file.String(), ": -\n", ": '-'\n"))}})
	if err != nil {
		t.Fatal(err)
	}
	if fromEnv.StreamMaxBytes != 3<<30 || fromEnv.DrainTimeout != 90*time.Second || fromEnv.ExecutorMaxInFlight != 8 || fromEnv.ExecutorMaxPerUser != 6 {
		t.Errorf("got %+v", fromEnv)
	}
	if diff := cmp.Diff([]string{"https://a.example", "https://b.example/c"}, fromEnv.ReturnTo); diff != "" {
		t.Error(diff)
	}
	fromFile.ConfigFile = ""
	equal := cmp.Comparer(func(a, b providers.Secret) bool { return a.Equal(b) })
	if got := fmt.Sprint(fromEnv.AllowPrivate); got != "[10.0.0.0/8 fd00::1/128]" {
		t.Errorf("networks are %s", got)
	}
	if diff := cmp.Diff(fromEnv, fromFile, cmpopts.IgnoreUnexported(Settings{}), cmpopts.EquateComparable(netip.Prefix{}), equal); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsNameWhatIsWrong(t *testing.T) {
	tests := []struct {
		name, env, file string
		want            string
	}{
		{"durability", "PLUGFN_DURABILITY=HA", "", `PLUGFN_DURABILITY "HA": must be dev, single, ha or strict`},
		{"address", "PLUGFN_HTTP_ADDR=8484", "", `PLUGFN_HTTP_ADDR "8484": must be host:port, such as 127.0.0.1:8484`},
		{"port", "PLUGFN_HTTP_ADDR=:http", "", `PLUGFN_HTTP_ADDR ":http": the port must be a number from 0 to 65535`},
		{"count", "PLUGFN_EXECUTOR_MAX_IN_FLIGHT=0", "", `PLUGFN_EXECUTOR_MAX_IN_FLIGHT "0": must be a number from 1 to 1000000`},
		{"size", "PLUGFN_STREAM_MAX_BYTES=1GB", "", `PLUGFN_STREAM_MAX_BYTES "1GB": must be a size such as 512MiB or 2GiB`},
		{"healing", "PLUGFN_HEAL_EVERY=1s", "", `PLUGFN_HEAL_EVERY "1s": must be off, or a duration from 10s to 24h`},
		{"duration", "PLUGFN_DRAIN_TIMEOUT=30", "", `PLUGFN_DRAIN_TIMEOUT "30": must be a duration such as 30s`},
		{"URL", "PLUGFN_HTTP_URL=localhost:8484", "", `PLUGFN_HTTP_URL "localhost:8484": must be a URL`},
		{"networks", "PLUGFN_ALLOW_PRIVATE_CIDRS=10.0.0.0/33", "", `PLUGFN_ALLOW_PRIVATE_CIDRS "10.0.0.0/33": must be networks such as 10.0.0.0/8`},
		{"level", "PLUGFN_LOG_LEVEL=loud", "", `PLUGFN_LOG_LEVEL "loud": must be trace, debug, info, warn or error`},
		{"secret is not shown", "PLUGFN_API_KEY=hunter2", "", `PLUGFN_API_KEY: must have at least 16 characters`},
		{"file away", "PLUGFN_API_KEY_FILE=/nowhere/key", "", `PLUGFN_API_KEY_FILE: open /nowhere/key: no such file`},
		{"unknown key", "", "htpt: {addr: x}", `key htpt.addr: is not known, did you mean http.addr?`},
		{"unknown key of a provider", "", "providers: {github: {webhok_secret: x}}", `key providers.github.webhok_secret: is not known, did you mean providers.github.webhook_secret?`},
		{"list", "", "data_dir: [a, b]", `key data_dir: must be one text or number`},
		{"number", "", "executor: {max_in_flight: 1.5}", `key executor.max_in_flight "1.5": must be a number from 1`},
		{"not YAML", "", "a: b: c", `mapping values are not allowed`},
		{"twice", "", "api_key: 0123456789abcdef\napi_key_file: x", `set one of them`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := Source{Environ: []string{tt.env}}
			if tt.file != "" {
				key := write(t, "key", "0123456789abcdef")
				src.Flags = map[string]string{"config": write(t, "c.yaml", strings.ReplaceAll(tt.file, "file: x", "file: "+key))}
			}
			_, err := Load(src)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is in %q", err)
			}
		})
	}
}

func TestLoadNamesAllProblems(t *testing.T) {
	_, err := Load(Source{Environ: []string{"PLUGFN_DURABILITY=x", "PLUGFN_LOG_LEVEL=y"}})
	if err == nil || !strings.Contains(err.Error(), "PLUGFN_DURABILITY") || !strings.Contains(err.Error(), "PLUGFN_LOG_LEVEL") {
		t.Errorf("got %v", err)
	}
}

func TestSecretFile(t *testing.T) {
	path := write(t, "key", "0123456789abcdef\r\n")
	for name, src := range map[string]Source{
		"variable": {Environ: []string{"PLUGFN_API_KEY_FILE=" + path}},
		"flag":     {Flags: map[string]string{"api-key-file": path}, Environ: []string{"PLUGFN_API_KEY=another-key-of-some-length"}},
		"key":      {Flags: map[string]string{"config": write(t, "c.yaml", "api_key_file: "+path)}},
	} {
		s, err := Load(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := string(s.APIKey.Reveal()); got != "0123456789abcdef" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	for _, content := range []string{"", "\n", strings.Repeat("x", maxSecretFile+1)} {
		if _, err := Load(Source{Environ: []string{"PLUGFN_API_KEY_FILE=" + write(t, "key", content)}}); err == nil {
			t.Errorf("%d bytes accepted", len(content))
		}
	}
}

func TestApps(t *testing.T) {
	file := write(t, "c.yaml", "providers:\n  slack: {webhook_secret: [new, old], client_id: id}\n  my-crm: {base_url: 'https://crm.example'}\n")
	secret := write(t, "secret", "one\n\n two \n")
	s, err := Load(Source{
		Flags: map[string]string{"config": file},
		Environ: []string{
			"PLUGFN_GITHUB_WEBHOOK_SECRET_FILE=" + secret, "PLUGFN_MY_CRM_CLIENT_SECRET=shh",
			"PLUGFN_SLACK_CLIENT_ID=over", "PLUGFN_NOBODY_BASE_URL=https://x.example",
			"PLUGFN_MY_CRM_AUTH_BASE_URL=https://login.crm.example", "PLUGFN_GITHUB_PRIVATE_KEY_FILE=" + secret,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	apps, err := s.Apps([]string{"github", "my-crm", "slack"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for name, app := range apps {
		line := []string{app.BaseURL, app.AuthBaseURL, app.ClientID, string(app.ClientSecret.Reveal()), string(app.PrivateKey.Reveal())}
		for _, w := range app.WebhookSecrets {
			line = append(line, string(w.Reveal()))
		}
		got[name] = line
	}
	want := map[string][]string{
		"github": {"", "", "", "", "one\n\n two ", "one", "two"},
		"my-crm": {"https://crm.example", "https://login.crm.example", "", "shh", ""},
		"slack":  {"", "", "over", "", "", "new", "old"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Apps([]string{"github", "slak"}); err == nil || !strings.Contains(err.Error(), "key providers.slack.webhook_secret: no provider has this name, did you mean slak?") {
		t.Errorf("a provider of the file without a pack: %v", err)
	}
}

func TestUnknown(t *testing.T) {
	s, err := Load(Source{Environ: []string{
		"PLUGFN_DURABILTY=dev", "PLUGFN_GITHUB_WEBHOK_SECRET=x", "PLUGFN_GITHB_BASE_URL=https://x.example", "PLUGFN_XYZZY=1",
		"PLUGFN_SERVICE_HOST=10.0.0.1", "PLUGFN_NATS_PORT_4222_TCP_ADDR=10.0.0.1", "PLUGFN_PORT=tcp://10.0.0.1:8484", "OTHER=1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Stranger{
		{"PLUGFN_DURABILTY", "PLUGFN_DURABILITY"},
		{"PLUGFN_GITHB_BASE_URL", "PLUGFN_GITHUB_BASE_URL"},
		{"PLUGFN_GITHUB_WEBHOK_SECRET", "PLUGFN_GITHUB_WEBHOOK_SECRET"},
		{"PLUGFN_XYZZY", ""},
	}
	if diff := cmp.Diff(want, s.Unknown([]string{"github"})); diff != "" {
		t.Error(diff)
	}
	if got := s.Unknown(nil); len(got) != 3 {
		t.Errorf("without packs the variables of providers are judged: %q", got)
	}
}

func TestFlagsFollowTheTable(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags, Server)
	if err := flags.Parse([]string{"--http-addr", ":1", "--durability=dev"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"http-addr": ":1", "durability": "dev"}, Given(flags)); diff != "" {
		t.Error(diff)
	}
	if flags.Lookup("http-url") != nil {
		t.Error("a client's flag among those of the server")
	}
	if flags.Lookup("api-key") != nil {
		t.Error("a flag takes a secret")
	}
}

func TestTableIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Table() {
		for _, name := range []string{v.Name, "--" + v.Flag, v.Key} {
			if name != "" && name != "--" && seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if v.Help == "" || v.Scope == 0 || v.set == nil {
			t.Errorf("%s is incomplete", v.Name)
		}
		if v.Default != "" && v.set(&Settings{}, v.Default) != nil {
			t.Errorf("%s refuses its default %q", v.Name, v.Default)
		}
	}
}

func TestDocumentationIsUpToDate(t *testing.T) {
	for name, want := range map[string]string{"configuration.md": Markdown(), "configuration.schema.json": string(Schema())} {
		path := filepath.Join("..", "..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the table says; run with -update:\n%s", path, diff)
		}
	}
}

func TestParseSizeNeverOverflows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n")
		shift := rapid.SampledFrom([]int{0, 10, 20, 30, 40}).Draw(t, "shift")
		unit := map[int]string{0: "", 10: "KiB", 20: "MiB", 30: "GiB", 40: "TiB"}[shift]
		got, ok := parseSize(strconv.FormatInt(n, 10) + unit)
		if fits := n<<shift>>shift == n && n<<shift >= 0; ok != fits || ok && got>>shift != n {
			t.Fatalf("%d%s: got %d, %v", n, unit, got, ok)
		}
	})
}

// FuzzConfigFile reads any file: it never panics, and what it accepts has
// origins.
func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{"", "a", "[]", "http: {addr: ':1'}", "providers: {github: {webhook_secret: [a, b]}}", "? [a]\n: b", "1: 2", "a: &x [*x]", "providers: {'': {base_url: x}}"} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Load(Source{Flags: map[string]string{"config": path}})
		if err != nil {
			return
		}
		if _, err := s.Apps(nil); err == nil && len(s.layers.values.MapKeys("providers")) > 0 {
			t.Errorf("accepted %q with providers that do not exist", data)
		}
	})
}
