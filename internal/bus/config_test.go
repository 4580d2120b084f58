package bus

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigRefusals(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "needs one in Dir"},
		{Config{Dir: "d", Durability: "safe"}, `durability "safe": must be dev, single, ha or strict`},
		{Config{Dir: "d", Durability: HA}, "cluster of three NATS servers: name them in PLUGFN_NATS_URL"},
		{Config{Dir: "d", Durability: Strict}, "durability strict"},
		{Config{Dir: "d", MaxBytes: -1}, "MaxBytes -1: must be at least 1048576"},
		{Config{Dir: "d", MaxBytes: 1000}, "MaxBytes 1000"},
		{Config{Dir: "d", Addr: "4222"}, `NATS address "4222": must be host:port`},
		{Config{Dir: "d", Addr: "localhost"}, "PLUGFN_NATS_ADDR"},
		{Config{Dir: "d", Addr: "localhost:nats"}, "port must be a number from 0 to 65535"},
		{Config{Dir: "d", Addr: "localhost:65536"}, "port must be a number"},
		{Config{Dir: "d", Addr: "localhost:-1"}, "port must be a number"},
		{Config{Dir: "d", Credentials: "f"}, "PLUGFN_NATS_URL"},
		{Config{Dir: "d", NKey: "f"}, "PLUGFN_NATS_URL"},
		{Config{URL: "nats://"}, "PLUGFN_NATS_URL: must be a URL"},
		{Config{URL: "nats://a,"}, "PLUGFN_NATS_URL"},
		{Config{URL: "nats://me:sesame@host:port"}, "PLUGFN_NATS_URL"},
		{Config{URL: "a", Credentials: "f", NKey: "f"}, "give one of them"},
		{Config{URL: "a", Credentials: "/no/such/file"}, "credentials file: stat /no/such/file"},
		{Config{URL: "a", NKey: "/no/such/file"}, "nkey: stat /no/such/file"},
	} {
		_, err := c.cfg.checked()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.cfg, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	got, err := Config{Dir: "d"}.checked()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Dir: "d", Addr: "127.0.0.1:4222", Durability: Single, MaxBytes: 1 << 30, Name: "plugfn"}
	if d := cmp.Diff(want.withoutLog(), got.withoutLog()); d != "" {
		t.Error(d)
	}
}

// withoutLog lists the settings, which compare.
func (c Config) withoutLog() []any {
	return []any{c.URL, c.Credentials, c.NKey, c.Addr, c.Dir, c.Durability, c.MaxBytes, c.Name}
}

func TestPublicURL(t *testing.T) {
	for list, want := range map[string]string{
		"host":                           "nats://host",
		"host:4222":                      "nats://host:4222",
		"nats://me:sesame@host:4222":     "nats://host:4222",
		"tls://token@host":               "tls://host",
		"nats://a:1, nats://u:p@[::1]:2": "nats://a:1,nats://[::1]:2",
	} {
		got, err := publicURL(list)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", list, got, err, want)
		}
	}
}

func TestServerOptions(t *testing.T) {
	for _, c := range []struct {
		addr   string
		listen bool
		host   string
		port   int
	}{
		{"", true, "127.0.0.1", 4222},
		{":4333", true, "", 4333},
		{"[::1]:0", true, "::1", -1},
		{"127.0.0.1:0", true, "127.0.0.1", -1},
		{"-", false, "", 0},
		{"none", false, "", 0},
	} {
		cfg, err := Config{Dir: "d", Addr: c.addr, Name: "a b"}.checked()
		if err != nil {
			t.Fatal(err)
		}
		opts, err := serverOptions(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if opts.DontListen == c.listen || opts.Host != c.host || opts.Port != c.port {
			t.Errorf("%q: listens %v at %q %d", c.addr, !opts.DontListen, opts.Host, opts.Port)
		}
		if opts.ServerName != "a=20b" {
			t.Errorf("server name %q: the server refuses spaces", opts.ServerName)
		}
	}
}
