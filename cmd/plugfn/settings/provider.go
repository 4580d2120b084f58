package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Apps returns the settings of each provider that has some, :: provider → app.
// names are the packs that there are; settings for another one are an error
// where the configuration file has them, and left out where a variable has
// them (see [Settings.Unknown]).
func (s *Settings) Apps(names []string) (map[string]providers.App, error) {
	apps := map[string]providers.App{}
	var problems []error
	for _, name := range s.layers.values.MapKeys(strings.TrimSuffix(providersKey, ".")) {
		if slices.Contains(names, name) {
			apps[name] = s.App(name)
			continue
		}
		for _, v := range ProviderTable() {
			origin := s.layers.origins[providersKey+name+"."+v.Key]
			if origin != "" && !isVariable(origin) {
				problems = append(problems, fmt.Errorf("%s: no provider has this name%s", origin, didYouMean(name, names)))
			}
		}
	}
	return apps, errors.Join(problems...)
}

// App returns the settings of one provider.
func (s *Settings) App(name string) providers.App {
	get := func(key string) string { return s.layers.values.String(providersKey + name + "." + key) }
	app := providers.App{BaseURL: get("base_url"), AuthBaseURL: get("auth_base_url"), ClientID: get("client_id")}
	if secret := get("client_secret"); secret != "" {
		app.ClientSecret = providers.NewSecret([]byte(secret))
	}
	if key := get("private_key"); key != "" {
		app.PrivateKey = providers.NewSecret([]byte(key))
	}
	app.AllowUnsigned = get("allow_unsigned") == "true" // anything else is no consent
	for host := range strings.SplitSeq(get("endpoint_hosts"), ",") {
		if host = strings.TrimSpace(host); host != "" {
			app.EndpointHosts = append(app.EndpointHosts, host)
		}
	}
	for line := range strings.Lines(get("webhook_secret")) {
		if line = strings.TrimSpace(line); line != "" {
			app.WebhookSecrets = append(app.WebhookSecrets, providers.NewSecret([]byte(line)))
		}
	}
	return app
}

// Stranger is a PLUGFN_* variable that sets nothing.
type Stranger struct {
	Name    string
	Nearest string // the variable that it was most likely meant to be, or ""
}

// Unknown returns the PLUGFN_* variables that set nothing. names are the packs
// that there are; without them the variables of providers are not judged.
func (s *Settings) Unknown(names []string) []Stranger {
	strange := slices.Clone(s.layers.strange)
	if names != nil {
		strange = append(strange, s.strangers(names)...)
	}
	slices.Sort(strange)
	all := make([]Stranger, len(strange))
	for i, name := range strange {
		all[i] = Stranger{name, nearest(name, variableNames(names))}
	}
	return all
}

// strangers lists the variables of providers for which there is no pack.
func (s *Settings) strangers(names []string) []string {
	var strange []string
	for key, origin := range s.layers.origins {
		rest, ok := strings.CutPrefix(key, providersKey)
		name, _, _ := strings.Cut(rest, ".")
		if ok && isVariable(origin) && !slices.Contains(names, name) {
			strange = append(strange, origin)
		}
	}
	return strange
}

func isVariable(origin string) bool { return strings.HasPrefix(origin, prefix) }

// variableNames lists all variables for the given packs.
func variableNames(names []string) []string {
	var all []string
	for _, v := range Table() {
		all = append(all, v.Name)
		if v.Secret {
			all = append(all, v.Name+FileSuffix)
		}
	}
	for _, name := range names {
		for _, v := range ProviderTable() {
			variable := ProviderName(name, v)
			all = append(all, variable, variable+FileSuffix)
		}
	}
	return all
}
