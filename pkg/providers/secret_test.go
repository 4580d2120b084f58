package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"
)

const hidden = "hunter2-hunter2"

// secretHolders are the ways in which a secret may be on its way to a log.
func secretHolders() map[string]any {
	s := NewSecret([]byte(hidden))
	return map[string]any{
		"value":      s,
		"pointer":    &s,
		"field":      struct{ Key Secret }{s},
		"unexported": struct{ key Secret }{s},
		"pointed":    &struct{ key *Secret }{&s},
		"list":       []Secret{s},
		"map":        map[string]Secret{"a": s},
		"any":        []any{s},
		"credential": Credential{Auth: "token", Token: s, Fields: map[string]Secret{"password": s}},
		"app":        App{WebhookSecrets: []Secret{s}, ClientSecret: s},
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	forms := []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), strings.Trim(fmt.Sprint(bytes.Runes([]byte(hidden))), "[]")}
	for name, v := range secretHolders() {
		var outputs []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%T %v", "%10s", "%c"} {
			outputs = append(outputs, fmt.Sprintf(verb, v, v))
		}
		var log bytes.Buffer
		logger := zerolog.New(&log)
		logger.Info().Interface("v", v).Any("w", v).Str("x", fmt.Sprint(v)).Send()
		slog.New(slog.NewTextHandler(&log, nil)).Info("", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "v", v)
		raw, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		text, err := yaml.Marshal(v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		outputs = append(outputs, log.String(), string(raw), string(text))
		for _, out := range outputs {
			for _, form := range forms {
				if strings.Contains(out, form) {
					t.Errorf("%s shows the secret: %s", name, out)
				}
			}
		}
	}
}

func TestSecretShowsAsRedacted(t *testing.T) {
	s := NewSecret([]byte(hidden))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "[redacted]" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	raw, err := json.Marshal(map[string]Secret{"key": s})
	if err != nil || string(raw) != `{"key":"[redacted]"}` {
		t.Errorf("JSON is %s, %v", raw, err)
	}
	var log bytes.Buffer
	logger := zerolog.New(&log)
	logger.Info().Interface("key", s).Send()
	if !strings.Contains(log.String(), `"key":"[redacted]"`) {
		t.Errorf("the log says %s", log.String())
	}
}

func TestSecret(t *testing.T) {
	given := []byte(hidden)
	s := NewSecret(given)
	given[0] = 'X'
	s.Reveal()[1] = 'X'
	if got := string(s.Reveal()); got != hidden {
		t.Errorf("the secret changed to %s", got)
	}
	if s.IsZero() || !(Secret{}).IsZero() || !NewSecret(nil).IsZero() {
		t.Error("IsZero is wrong")
	}
	if !s.Equal(NewSecret([]byte(hidden))) || s.Equal(NewSecret([]byte("other"))) || s.Equal(Secret{}) || !(Secret{}).Equal(NewSecret(nil)) {
		t.Error("Equal is wrong")
	}
}
