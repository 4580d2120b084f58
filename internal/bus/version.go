package bus

import (
	"fmt"
	"strconv"
	"strings"
)

// minVersion is the oldest server that schedules with time zones and answers
// as the rest of this package expects.
const minVersion = "2.14.0"

// checkVersion refuses a server older than minVersion. A pre-release counts as
// older than its release.
func checkVersion(version string) error {
	have, pre, ok := parseVersion(version)
	if !ok {
		return fmt.Errorf("the NATS server calls its version %q, which cannot be read: PlugFn needs %s or later", version, minVersion)
	}
	want, _, _ := parseVersion(minVersion)
	for i := range want {
		if have[i] != want[i] {
			if have[i] > want[i] {
				return nil
			}
			return tooOld(version)
		}
	}
	if pre {
		return tooOld(version)
	}
	return nil
}

func tooOld(version string) error {
	return fmt.Errorf("the NATS server is version %s: PlugFn needs %s or later: upgrade it, or leave PLUGFN_NATS_URL empty to use the embedded one", version, minVersion)
}

// parseVersion reads major.minor.patch with an optional leading v, pre-release
// and build metadata.
func parseVersion(s string) (numbers [3]int, pre, ok bool) {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "+")
	s, suffix, pre := strings.Cut(s, "-")
	if pre && suffix == "" {
		return numbers, pre, false
	}
	parts := strings.Split(s, ".")
	if len(parts) != len(numbers) {
		return numbers, pre, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return numbers, pre, false
		}
		numbers[i] = int(n)
	}
	return numbers, pre, true
}
