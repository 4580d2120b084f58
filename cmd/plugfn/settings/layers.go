package settings

import (
	"errors"
	"fmt"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// layers holds the values of all sources, the stronger over the weaker, and
// where each came from.
type layers struct {
	values  *koanf.Koanf
	origins map[string]string // :: key → the flag, the variable or the file and key that set it; none for a default
	strange []string          // names of PLUGFN_* variables that are no row of the table
}

// layer is what one source sets.
type layer struct {
	values  map[string]any    // :: key → value
	origins map[string]string // :: key → where it was set
}

func newLayer() layer { return layer{values: map[string]any{}, origins: map[string]string{}} }

// put notes a value. A second one for the same key, as itself and as a file, is
// an error.
func (l layer) put(key, origin string, value any) error {
	if first, twice := l.origins[key]; twice {
		names := []string{first, origin}
		slices.Sort(names)
		return fmt.Errorf("%s and %s: set one of them", names[0], names[1])
	}
	l.values[key], l.origins[key] = value, origin
	return nil
}

func readLayers(src Source) (*layers, error) {
	all := &layers{values: koanf.New("."), origins: map[string]string{}}
	environ, strange, envErr := readEnviron(src.Environ)
	flags, flagErr := readFlags(src.Flags)
	file, fileErr := readFile(configFile(flags, environ))
	if err := errors.Join(flagErr, envErr, fileErr); err != nil {
		return nil, err
	}
	all.strange = strange
	for _, l := range []layer{defaults(src.Defaults), file, environ, flags} {
		if err := all.values.Load(confmap.Provider(l.values, "."), nil); err != nil {
			return nil, err
		}
		for key, origin := range l.origins {
			all.origins[key] = origin
		}
	}
	return all, nil
}

// defaults is the weakest layer. Its values have no origin.
func defaults(instead map[string]string) layer {
	l := newLayer()
	for _, v := range Table() {
		if d, ok := instead[v.Key]; ok {
			l.values[v.Key] = d
		} else if v.Default != "" {
			l.values[v.Key] = v.Default
		}
	}
	return l
}

// configKey stands for the file itself, which has no key in the file.
const configKey = "config"

func configFile(flags, environ layer) (path, origin string) {
	for _, l := range []layer{flags, environ} {
		if path, ok := l.values[configKey].(string); ok {
			return path, l.origins[configKey]
		}
	}
	return "", ""
}

func readFlags(given map[string]string) (layer, error) {
	l := newLayer()
	var problems []error
	for _, v := range Table() {
		value, ok := given[v.Flag]
		if !ok || v.Flag == "" || value == "" {
			continue
		}
		problems = append(problems, l.take(v.key(), "--"+v.Flag, value, v.Secret))
	}
	return l, errors.Join(problems...)
}

// take notes a value, or with isPath what is in the file of that name.
func (l layer) take(key, origin, value string, isPath bool) error {
	if isPath {
		content, err := readSecretFile(value)
		if err != nil {
			return fmt.Errorf("%s: %w", origin, err)
		}
		value = content
	}
	return l.put(key, origin, value)
}

func (v Variable) key() string {
	if v.Key == "" {
		return configKey
	}
	return v.Key
}

// fill reads the value of each row into s.
func (s *Settings) fill(table []Variable) error {
	var problems []error
	for _, v := range table {
		value := s.layers.values.String(v.key())
		if value == "" {
			continue
		}
		if err := v.set(s, value); err != nil {
			problems = append(problems, fmt.Errorf("%s%s: %w", s.layers.origins[v.key()], shown(value, v.Secret), err))
		}
	}
	return errors.Join(problems...)
}

// shown is a value in a message; nothing of a secret.
func shown(value string, secret bool) string {
	const most = 100
	switch {
	case secret:
		return ""
	case len(value) > most:
		return fmt.Sprintf(" %q…", value[:most])
	default:
		return fmt.Sprintf(" %q", value)
	}
}
