package main

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/house"
	"github.com/plugfn/plugfn/internal/secretfile"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	defaultHTTPURL = "http://127.0.0.1:8484"
	defaultNATSURL = "nats://127.0.0.1:4222"
	dialTimeout    = 3 * time.Second
)

// target is the PlugFn that a command talks to: the one that the settings name,
// else the `plugfn dev` of this directory, else the default addresses.
type target struct {
	settings *settings.Settings
	found    contextFile // zero: no `plugfn dev` here
}

// newTarget finds the target of a command that has the client flags.
func newTarget(cmd *cobra.Command) (*target, error) {
	s, err := loadSettings(cmd, nil)
	if err != nil {
		return nil, err
	}
	warnOfStrangers(cmd, s)
	dir := ""
	if s.Origin("data_dir") != "" {
		dir = s.DataDir
	}
	found, err := findContext(dir)
	if err != nil {
		return nil, err
	}
	return &target{settings: s, found: found}, nil
}

// warnOfStrangers tells of variables that set nothing.
func warnOfStrangers(cmd *cobra.Command, s *settings.Settings) {
	for _, v := range s.Unknown(nil) {
		warning := "warning: " + v.Name + " is not known and sets nothing"
		if v.Nearest != "" {
			warning += ", did you mean " + v.Nearest + "?"
		}
		fmt.Fprintln(cmd.ErrOrStderr(), warning)
	}
}

// withTarget gives a command the flags that say where PlugFn is, as far as it
// uses it.
func withTarget(uses settings.Scope, cmd *cobra.Command) *cobra.Command {
	settings.AddFlags(cmd.Flags(), uses)
	return cmd
}

func (t *target) httpURL() string {
	return firstOf(t.settings.HTTPURL, t.found.HTTPURL, defaultHTTPURL)
}

func (t *target) natsURL() string {
	return firstOf(t.settings.NATSURL, t.found.NATSURL, defaultNATSURL)
}

// natsKey is the nkey to connect with: what is set, else that of the `plugfn
// dev` of this directory, for its own server only.
func (t *target) natsKey() string {
	if t.settings.NATSNKey != "" || t.settings.NATSCreds != "" || t.settings.NATSURL != "" {
		return t.settings.NATSNKey
	}
	return t.found.AdminKey
}

// roleKey is the admin's seed file where path is a directory of role keys, else
// path.
func roleKey(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, string(bus.RoleAdmin)+".nk")
	}
	return path
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// packs are the provider packs that this program knows.
func (t *target) packs() (map[string]*providers.Pack, error) {
	return house.Packs(firstOf(t.settings.ProvidersDir, t.found.ProvidersDir))
}

// apiKey is the key of the HTTP API.
func (t *target) apiKey() (providers.Secret, error) {
	const fix = "name the file that holds it with --api-key-file, set PLUGFN_API_KEY, or start PlugFn here with: plugfn dev"
	if !t.settings.APIKey.IsZero() {
		return t.settings.APIKey, nil
	}
	if t.found.APIKeyFile == "" {
		return providers.Secret{}, &failure{exit: exitUnauthorized, what: "no API key is set", fix: fix}
	}
	key, err := secretfile.Read(t.found.APIKeyFile)
	if err != nil {
		return key, &failure{exit: exitUnauthorized, what: "the API key cannot be read", cause: err, fix: fix}
	}
	return key, nil
}

// signer signs deliveries of a provider, with the secrets that are set or like
// the plugfn dev of this directory.
func (t *target) signer(pack *providers.Pack) (*providers.Signer, error) {
	if set := t.settings.App(pack.Name).WebhookSecrets; len(set) > 0 {
		return pack.Webhooks.NewSigner(set, providers.Secret{}), nil
	}
	if t.found.SecretsDir != "" {
		seed, err := secretfile.Read(house.SecretFile(t.found.SecretsDir, pack.Name))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return pack.Webhooks.NewSigner(nil, seed), err
		}
	}
	return nil, &failure{
		exit: exitUnauthorized, what: "no webhook secret is set for " + pack.Name,
		fix: "set " + settings.ProviderName(pack.Name, webhookSecretVariable()) + " to the secret that the server has, or start PlugFn here with: plugfn dev",
	}
}

func webhookSecretVariable() settings.ProviderVariable {
	table := settings.ProviderTable()
	return table[slices.IndexFunc(table, func(v settings.ProviderVariable) bool { return v.Key == "webhook_secret" })]
}

// connect opens a connection to the bus. Whoever calls it closes it.
func (t *target) connect() (*nats.Conn, error) {
	options := []nats.Option{nats.Name("plugfn-cli"), nats.Timeout(dialTimeout)}
	if f := t.settings.NATSCreds; f != "" {
		options = append(options, nats.UserCredentials(f))
	}
	if f := roleKey(t.natsKey()); f != "" {
		nkey, err := nats.NkeyOptionFromSeed(f)
		if err != nil {
			return nil, &failure{exit: exitUsage, what: "the nkey seed cannot be read", cause: err, fix: "see PLUGFN_NATS_NKEY"}
		}
		options = append(options, nkey)
	}
	conn, err := nats.Connect(t.natsURL(), options...)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, nats.ErrAuthorization):
		return nil, &failure{exit: exitUnauthorized, what: "the NATS server does not let us in", cause: err, fix: "set PLUGFN_NATS_NKEY to the admin's key (nkeys/admin.nk in the data directory of the server), or PLUGFN_NATS_CREDS"}
	default:
		return nil, &failure{exit: exitUnreachable, what: "no NATS server can be reached at " + hosts(t.natsURL()), cause: err, fix: startFix}
	}
}

const startFix = "start PlugFn here with: plugfn dev, or say where it is with --nats-url and --http-url"

// packNamed returns a pack by its name, or a failure that says which there are.
func packNamed(packs map[string]*providers.Pack, name string) (*providers.Pack, error) {
	if pack, ok := packs[name]; ok {
		return pack, nil
	}
	registry, err := providers.NewRegistry(packs, nil)
	if err != nil {
		return nil, err
	}
	f := &failure{exit: exitNotFound, what: fmt.Sprintf("no provider is called %q", name), fix: "plugfn provider list"}
	if near := registry.Nearest(name); near != "" {
		f.fix = "did you mean " + near + "? All of them: plugfn provider list"
	}
	return nil, f
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// hosts returns a list of URLs without what may be secret in them.
func hosts(list string) string {
	var all []string
	for one := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" {
			return "the address given"
		}
		all = append(all, u.Scheme+"://"+u.Host)
	}
	return strings.Join(all, ",")
}
