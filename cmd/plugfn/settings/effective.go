package settings

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Value is one setting as it holds.
type Value struct {
	Key      string `json:"key"`      // in the configuration file; "" for the file itself
	Variable string `json:"variable"` // of the environment
	Value    string `json:"value"`    // of a secret only that there is one
	Origin   string `json:"origin"`   // see [Settings.Origin]; "default", or "" where nothing sets it
	Secret   bool   `json:"secret,omitempty"`
}

// IsSet reports whether the operator has set it.
func (v Value) IsSet() bool { return v.Origin != "" && v.Origin != originDefault }

const (
	originDefault = "default"
	masked        = "[redacted]"
)

// Effective returns all settings in the order of the table, and then those of
// providers that are set. Secrets and passwords in URLs are masked.
func (s *Settings) Effective() []Value {
	var all []Value
	for _, v := range Table() {
		value := Value{Key: v.Key, Variable: v.Name, Secret: v.Secret, Origin: s.layers.origins[v.key()]}
		if text := s.layers.values.String(v.key()); text != "" {
			value.Value = shownValue(text, v.Secret)
			if value.Origin == "" {
				value.Origin = originDefault
			}
		}
		all = append(all, value)
	}
	for _, key := range slices.Sorted(maps.Keys(s.layers.origins)) {
		if v, ok := s.ofProvider(key); ok {
			all = append(all, v)
		}
	}
	return all
}

// ofProvider returns the setting of a provider that a key stands for.
func (s *Settings) ofProvider(key string) (Value, bool) {
	rest, ok := strings.CutPrefix(key, providersKey)
	name, field, both := strings.Cut(rest, ".")
	at := slices.IndexFunc(ProviderTable(), func(v ProviderVariable) bool { return v.Key == field })
	if !ok || !both || at < 0 {
		return Value{}, false
	}
	v := ProviderTable()[at]
	return Value{
		Key: key, Variable: ProviderName(name, v), Secret: v.Secret, Origin: s.layers.origins[key],
		Value: shownValue(s.layers.values.String(key), v.Secret),
	}, true
}

// shownValue is a value that anybody may see: a URL list loses its passwords and
// tokens.
func shownValue(text string, secret bool) string {
	if secret {
		return masked
	}
	if !strings.Contains(text, "@") {
		return text
	}
	items := strings.Split(text, ",")
	for i, item := range items {
		u, err := url.Parse(strings.TrimSpace(item))
		switch {
		case err == nil && u.User != nil:
			u.User = nil
			items[i] = u.Scheme + "://" + masked + "@" + strings.TrimPrefix(u.String(), u.Scheme+"://")
		case err != nil, u.Host == "": // who knows what stands before the @
			items[i] = masked
		}
	}
	return strings.Join(items, ",")
}
