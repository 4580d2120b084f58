package settings

import (
	"net/netip"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Scope tells which commands a setting is for.
type Scope uint8

// The scopes. All but Server are for the commands that talk to a running
// PlugFn.
const (
	Server  Scope = 1 << iota // serve and dev
	HTTP                      // those that use its HTTP routes
	API                       // those of them that need the API key
	Bus                       // those that use its bus
	Packs                     // those that read provider packs
	Health                    // healthcheck
	Streams                   // those that make streams

	everybody = Server | HTTP | API | Bus | Packs | Health | Streams
)

// Variable is one row of the table: one thing that can be set.
type Variable struct {
	Name    string // of the environment variable
	Key     string // in the configuration file
	Flag    string // without the dashes; "" none. A secret's flag takes the path of a file
	Default string
	Help    string
	Scope   Scope
	Secret  bool     // never shown; may be given as a file, see FileSuffix
	Switch  bool     // the flag alone means true
	Values  []string // all that it may be; nil: not so few

	set func(*Settings, string) error // reads a value that is not empty
}

// FileSuffix behind the name of a secret says that the value is the path of a
// file that holds it.
const FileSuffix = "_FILE"

const (
	prefix       = "PLUGFN_"
	providersKey = "providers."
)

// Table returns all settings but those of single providers, see
// [ProviderTable].
func Table() []Variable {
	return []Variable{
		{
			Name: "PLUGFN_CONFIG", Flag: "config", Scope: everybody,
			Help: "path of a YAML file with settings", set: text(func(s *Settings) *string { return &s.ConfigFile }),
		},
		{
			Name: "PLUGFN_DATA_DIR", Key: "data_dir", Flag: "data-dir", Default: ".plugfn", Scope: Server,
			Help: "directory of the embedded bus and of generated keys", set: text(func(s *Settings) *string { return &s.DataDir }),
		},
		{
			Name: "PLUGFN_HTTP_ADDR", Key: "http.addr", Flag: "http-addr", Default: "127.0.0.1:8484", Scope: Server | Health,
			Help: "where HTTP listens", set: address(func(s *Settings) *string { return &s.HTTPAddr }, ""),
		},
		{
			Name: "PLUGFN_HTTP_URL", Key: "http.url", Flag: "http-url", Scope: HTTP,
			Help: "where PlugFn's HTTP is (a running `plugfn dev` is found by itself)", set: link(func(s *Settings) *string { return &s.HTTPURL }),
		},
		{
			Name: "PLUGFN_PUBLIC_URL", Key: "public_url", Flag: "public-url", Scope: Server,
			Help: "PlugFn's HTTP as browsers and providers reach it, https:// unless it is this computer; empty: http:// and the address that HTTP listens at", set: link(func(s *Settings) *string { return &s.PublicURL }),
		},
		{
			Name: "PLUGFN_RETURN_TO", Key: "return_to", Scope: Server,
			Help: "where browsers may be sent once an account is connected: origins, or origins with a path that all has to be below, separated by commas", set: list(func(s *Settings) *[]string { return &s.ReturnTo }),
		},
		{
			Name: "PLUGFN_NATS_ADDR", Key: "nats.addr", Flag: "nats-addr", Default: "127.0.0.1:4222", Scope: Server,
			Help: "where the embedded NATS server listens; - for nowhere", set: address(func(s *Settings) *string { return &s.NATSAddr }, "-"),
		},
		{
			Name: "PLUGFN_NATS_URL", Key: "nats.url", Flag: "nats-url", Scope: Server | Bus,
			Help: "address of the NATS server, or of several, separated by commas; a server without one embeds its own", set: text(func(s *Settings) *string { return &s.NATSURL }),
		},
		{
			Name: "PLUGFN_NATS_CREDS", Key: "nats.creds", Flag: "nats-creds", Scope: Server | Bus,
			Help: "path of a NATS credentials file", set: text(func(s *Settings) *string { return &s.NATSCreds }),
		},
		{
			Name: "PLUGFN_NATS_NKEY", Key: "nats.nkey", Flag: "nats-nkey", Scope: Server | Bus,
			Help: "path of a NATS nkey seed file, or of a directory with <role>.nk for each role", set: text(func(s *Settings) *string { return &s.NATSNKey }),
		},
		{
			Name: "PLUGFN_NATS_SECURE", Key: "nats.secure", Flag: "nats-secure", Default: "false", Scope: Server, Switch: true,
			Help: "whether the embedded NATS server asks for a key; those of the roles are made in nkeys of the data directory", set: yesNo(func(s *Settings) *bool { return &s.NATSSecure }),
		},
		{
			Name: "PLUGFN_DURABILITY", Key: "durability", Flag: "durability", Default: "single", Scope: Server | Streams, Values: []string{"dev", "single", "ha", "strict"},
			Help: "what stored messages survive: dev, single, ha or strict", set: durability,
		},
		{
			Name: "PLUGFN_STREAM_MAX_BYTES", Key: "stream.max_bytes", Flag: "stream-max-bytes", Default: "1GiB", Scope: Server | Streams,
			Help: "size up to which each stream takes messages", set: size(func(s *Settings) *int64 { return &s.StreamMaxBytes }),
		},
		{
			Name: "PLUGFN_PROVIDERS_DIR", Key: "providers_dir", Flag: "providers-dir", Scope: Server | Packs,
			Help: "directory of your own provider packs; they replace built-in ones of the same name", set: text(func(s *Settings) *string { return &s.ProvidersDir }),
		},
		{
			Name: "PLUGFN_API_KEY", Key: "api_key", Flag: "api-key-file", Scope: Server | API, Secret: true,
			Help: "key of the HTTP API; a server without one makes it, as api_key in its data directory", set: apiKey,
		},
		{
			Name: "PLUGFN_KEYSET_FILE", Key: "keyset_file", Flag: "keyset-file", Scope: Server,
			Help: "encryption keys of the credentials, where no KEK wraps them; empty: keyset.json in the data directory, made when absent", set: text(func(s *Settings) *string { return &s.KeysetFile }),
		},
		{
			Name: "PLUGFN_KEK", Key: "kek", Flag: "kek-file", Scope: Server, Secret: true,
			Help: "key that wraps the encryption keys, which are then kept on the bus: 32 bytes in base64; a new one on the first line, the old one on the next, while it takes over", set: secret(func(s *Settings) *providers.Secret { return &s.KEK }),
		},
		{
			Name: "PLUGFN_KEK_COMMAND", Key: "kek_command", Scope: Server,
			Help: "program, with arguments, that wraps the encryption keys by a KMS: it is run with wrap or unwrap, from standard input to standard output", set: text(func(s *Settings) *string { return &s.KEKCommand }),
		},
		{
			Name: "PLUGFN_LOG_LEVEL", Key: "log.level", Flag: "log-level", Default: "info", Scope: Server, Values: []string{"trace", "debug", "info", "warn", "error"},
			Help: "what is logged: trace, debug, info, warn or error and all above", set: logLevel,
		},
		{
			Name: "PLUGFN_LOG_FORMAT", Key: "log.format", Flag: "log-format", Default: "auto", Scope: Server, Values: []string{"auto", "json", "pretty"},
			Help: "form of the log: json, pretty, or auto: pretty on a terminal", set: choice(func(s *Settings) *string { return &s.LogFormat }, "auto", "json", "pretty"),
		},
		{
			Name: "PLUGFN_TRACE_FILE", Key: "trace.file", Flag: "trace-file", Scope: Server,
			Help: "file that takes traces, each span as a line of JSON; empty: the OTEL_* variables say where to, and without them there are no traces", set: text(func(s *Settings) *string { return &s.TraceFile }),
		},
		{
			Name: "PLUGFN_INGRESS_MAX_IN_FLIGHT", Key: "ingress.max_in_flight", Default: "512", Scope: Server,
			Help: "deliveries worked on at once", set: count(func(s *Settings) *int { return &s.IngressMaxInFlight }),
		},
		{
			Name: "PLUGFN_INGRESS_MAX_BYTES", Key: "ingress.max_bytes", Default: "256MiB", Scope: Server,
			Help: "size of the deliveries held in memory at once", set: size(func(s *Settings) *int64 { return &s.IngressMaxBytes }),
		},
		{
			Name: "PLUGFN_INGRESS_RATE", Key: "ingress.rate", Default: "1000", Scope: Server,
			Help: "deliveries a second that one endpoint takes, twice as many at once; what is over is told to wait", set: count(func(s *Settings) *int { return &s.IngressRate }),
		},
		{
			Name: "PLUGFN_SPOOL_DIR", Key: "spool.dir", Scope: Server,
			Help: "directory of the spool, which takes deliveries while the bus is away; - for none; empty: spool in the data directory with PLUGFN_NATS_URL, none with the embedded bus", set: text(func(s *Settings) *string { return &s.SpoolDir }),
		},
		{
			Name: "PLUGFN_SPOOL_MAX_BYTES", Key: "spool.max_bytes", Default: "1GiB", Scope: Server,
			Help: "size up to which the spool takes deliveries", set: size(func(s *Settings) *int64 { return &s.SpoolMaxBytes }),
		},
		{
			Name: "PLUGFN_EXECUTOR_MAX_IN_FLIGHT", Key: "executor.max_in_flight", Default: "256", Scope: Server,
			Help: "action requests worked on at once", set: count(func(s *Settings) *int { return &s.ExecutorMaxInFlight }),
		},
		{
			Name: "PLUGFN_EXECUTOR_MAX_PER_USER", Key: "executor.max_per_user", Default: "64", Scope: Server,
			Help: "of them those of one user, while others ask as well; one who is alone has three quarters", set: count(func(s *Settings) *int { return &s.ExecutorMaxPerUser }),
		},
		{
			Name: "PLUGFN_REDIS_URL", Key: "redis.url", Scope: Server, Secret: true,
			Help: "Redis that keeps the limits of providers, and encrypted answers to reads, for all executors, such as redis://:password@host:6379/0, rediss:// for TLS, with ?cluster=true for a cluster; empty: each executor keeps both by itself", set: secret(func(s *Settings) *providers.Secret { return &s.RedisURL }),
		},
		{
			Name: "PLUGFN_ALLOW_PRIVATE_CIDRS", Key: "allow_private_cidrs", Scope: Server,
			Help: "networks, separated by commas, in which providers may be although they are not public; the hosts of base URLs that you set may be anywhere", set: networks(func(s *Settings) *[]netip.Prefix { return &s.AllowPrivate }),
		},
		{
			Name: "PLUGFN_SCHEDULES_PER_USER", Key: "schedules_per_user", Default: "1000", Scope: Server,
			Help: "schedules that one user may have, those that are done not counted", set: count(func(s *Settings) *int { return &s.SchedulesPerUser }),
		},
		{
			Name: "PLUGFN_WORKFLOWS_PER_USER", Key: "workflows_per_user", Default: "200", Scope: Server,
			Help: "workflows that one user may have", set: count(func(s *Settings) *int { return &s.WorkflowsPerUser }),
		},
		{
			Name: "PLUGFN_RUNS_PER_USER", Key: "runs_per_user", Default: "10000", Scope: Server,
			Help: "runs of workflows that one user may have, those that have ended not counted", set: count(func(s *Settings) *int { return &s.RunsPerUser }),
		},
		{
			Name: "PLUGFN_STEPS_PER_USER", Key: "steps_per_user", Default: "1000000", Scope: Server,
			Help: "steps that the runs of one user may begin within an hour at a scheduler, before it starts no more of them", set: count(func(s *Settings) *int { return &s.StepsPerUser }),
		},
		{
			Name: "PLUGFN_HEAL_EVERY", Key: "heal_every", Default: "5m", Scope: Server,
			Help: "how often failed deliveries are looked for, to ask the provider for them again, where its pack says how and a connection may; off: never",
			set:  healEvery,
		},
		{
			Name: "PLUGFN_DRAIN_TIMEOUT", Key: "drain_timeout", Default: "30s", Scope: Server,
			Help: "how long the work in hand may go on when the program is stopped", set: duration(func(s *Settings) *time.Duration { return &s.DrainTimeout }),
		},
	}
}

// ProviderVariable is one row of the table of what can be set for each
// provider.
type ProviderVariable struct {
	Suffix string // of the variable PLUGFN_<PROVIDER>_<Suffix>
	Key    string // in the configuration file, under providers.<provider>
	Help   string
	Secret bool
}

// ProviderTable returns the settings that each provider has. Each may be given
// as a file, see [FileSuffix]. A suffix stands before those that it ends with.
func ProviderTable() []ProviderVariable {
	return []ProviderVariable{
		{Suffix: "AUTH_BASE_URL", Key: "auth_base_url", Help: "where its authorization pages and tokens are instead of the provider's own host"},
		{Suffix: "BASE_URL", Key: "base_url", Help: "API to call instead of the provider's own"},
		{Suffix: "WEBHOOK_SECRET", Key: "webhook_secret", Secret: true, Help: "secret of its deliveries; several, one on each line (in the file also as a list), while a new one takes over"},
		{Suffix: "ALLOW_UNSIGNED", Key: "allow_unsigned", Help: "true takes deliveries of a provider that signs none: anybody can send them. With it an endpoint's own webhooks block may say so, too"},
		{Suffix: "ENDPOINT_HOSTS", Key: "endpoint_hosts", Help: "hosts that an endpoint's own webhooks block may have PlugFn fetch keys from or confirm at, several with commas between, such as login.example.com,sns.*.amazonaws.com"},
		{Suffix: "CLIENT_ID", Key: "client_id", Help: "id of your OAuth client there"},
		{Suffix: "CLIENT_SECRET", Key: "client_secret", Secret: true, Help: "secret of your OAuth client there"},
		{Suffix: "PRIVATE_KEY", Key: "private_key", Secret: true, Help: "private key of your app there in PEM, such as that of a GitHub App"},
	}
}

// ProviderName returns the variable of one provider: its pack's name in upper
// case, with _ for -.
func ProviderName(provider string, v ProviderVariable) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(provider, "-", "_")) + "_" + v.Suffix
}
