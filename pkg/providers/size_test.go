package providers

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"1": 1, "65536": 65536, "512KiB": 512 << 10, "10MiB": 10 << 20, "2GiB": 2 << 30,
		"0": 0, "-1": 0, "": 0, "KiB": 0, "1.5MiB": 0, "1MB": 0, "1 MiB": 0, "1kib": 0, "9223372036854775807GiB": 0, "1e3": 0, "MiBMiB": 0, "[1]": 0,
	} {
		var got Size
		err := yaml.Unmarshal([]byte(text), &got)
		if text == "" {
			continue // an empty document is no node
		}
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
}
