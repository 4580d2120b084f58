package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
)

// readEnviron takes the PLUGFN_* variables. An empty one counts as not set.
func readEnviron(environ []string) (l layer, strange []string, err error) {
	l = newLayer()
	var problems []error
	// The provider cuts names and values; what they mean is decided here.
	variables, err := env.Provider("", env.Opt{Prefix: prefix, EnvironFunc: func() []string { return environ }}).Read()
	if err != nil {
		return l, nil, err
	}
	for name, value := range variables {
		text, _ := value.(string)
		if text == "" {
			continue
		}
		key, isPath, known := keyOf(name)
		switch {
		case known:
			problems = append(problems, l.take(key, name, text, isPath))
		case !linkOfService.MatchString(name):
			strange = append(strange, name)
		}
	}
	return l, strange, errors.Join(problems...)
}

// linkOfService matches what Kubernetes and Docker tell every container about
// services in reach, such as PLUGFN_NATS_PORT_4222_TCP_ADDR.
var linkOfService = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// keyOf returns the key that a variable sets, and whether its value is the path
// of a file that holds the value. The name in a provider's variable need not be
// that of a pack: packs are known later.
func keyOf(name string) (key string, isPath, known bool) {
	for _, v := range Table() {
		switch {
		case name == v.Name:
			return v.key(), false, true
		case v.Secret && name == v.Name+FileSuffix:
			return v.key(), true, true
		}
	}
	bare, isPath := strings.CutSuffix(name, FileSuffix)
	for _, v := range ProviderTable() {
		middle, ok := strings.CutSuffix(strings.TrimPrefix(bare, prefix), "_"+v.Suffix)
		if ok && middle != "" {
			return providersKey + packName(middle) + "." + v.Key, isPath, true
		}
	}
	return "", false, false
}

// packName is the inverse of what [ProviderName] does to a name.
func packName(variable string) string {
	return strings.ToLower(strings.ReplaceAll(variable, "_", "-"))
}

// maxSecretFile bounds a file that should hold a few lines.
const maxSecretFile = 64 << 10

// readSecretFile returns the content of a file without the line breaks at its
// end.
func readSecretFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > maxSecretFile:
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxSecretFile)
	}
	content := strings.TrimRight(string(data), "\r\n")
	if content == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return content, nil
}
