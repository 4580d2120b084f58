package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// readFile reads the YAML file at path, "" for none. origin says who named it.
func readFile(path, origin string) (layer, error) {
	l := newLayer()
	if path == "" {
		return l, nil
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return l, fmt.Errorf("%s: reading %s: %w", origin, path, err)
	}
	var problems []error
	all := k.All()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if err := l.takeKey(path, key, all[key]); err != nil {
			problems = append(problems, fmt.Errorf("%s: key %s: %w", path, key, err))
		}
	}
	return l, errors.Join(problems...)
}

// takeKey notes what one key of the file sets.
func (l layer) takeKey(path, key string, value any) error {
	target, isPath, err := fileKey(key)
	if err != nil {
		return err
	}
	text, err := scalar(value, strings.HasSuffix(target, ".webhook_secret"))
	if err != nil || text == "" {
		return err
	}
	return l.take(target, path+": key "+key, text, isPath)
}

// fileKey returns the key that is meant by one of the file, which differ where
// the value is the path of a file that holds the value.
func fileKey(key string) (target string, isPath bool, err error) {
	bare, isPath := strings.CutSuffix(key, strings.ToLower(FileSuffix))
	for _, v := range Table() {
		switch {
		case v.Key == "":
		case key == v.Key:
			return key, false, nil
		case v.Secret && isPath && bare == v.Key:
			return bare, true, nil
		}
	}
	if rest, ok := strings.CutPrefix(bare, providersKey); ok {
		_, field, _ := strings.Cut(rest, ".")
		if slices.ContainsFunc(ProviderTable(), func(v ProviderVariable) bool { return v.Key == field }) {
			return bare, isPath, nil
		}
	}
	return "", false, fmt.Errorf("is not known%s", didYouMean(key, fileKeys(key)))
}

// fileKeys lists the keys that key may have been meant to be.
func fileKeys(key string) []string {
	var keys []string
	for _, v := range Table() {
		if v.Key != "" {
			keys = append(keys, v.Key)
		}
	}
	if parts := strings.SplitN(key, ".", 3); len(parts) == 3 {
		for _, v := range ProviderTable() {
			keys = append(keys, providersKey+parts[1]+"."+v.Key)
		}
	}
	return keys
}

// scalar returns a value of the file as the text that a variable would hold. A
// list becomes lines, where it is allowed.
func scalar(value any, lists bool) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int, int64, uint64, float64, bool:
		return fmt.Sprint(v), nil
	case []any:
		if !lists {
			break
		}
		lines := make([]string, len(v))
		for i, item := range v {
			line, err := scalar(item, false)
			if err != nil {
				return "", err
			}
			lines[i] = line
		}
		return strings.Join(lines, "\n"), nil
	}
	return "", errors.New("must be one text or number")
}
