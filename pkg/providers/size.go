package providers

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes, written as 512KiB, 10MiB or plain 65536. Zero
// means the default of the field.
type Size int64

// UnmarshalYAML reads a size above zero.
func (s *Size) UnmarshalYAML(node *yaml.Node) error {
	digits, unit := node.Value, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(node.Value, suffix); ok {
			digits, unit = rest, factor
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return atLine(node, "must be a size above zero such as 512KiB, 10MiB or a number of bytes")
	}
	*s = Size(n * unit)
	return nil
}
