package providers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// maxOrderKeys bounds what an order is kept for.
const maxOrderKeys = 4

// IsOrdered reports whether requests for the action are carried out one after
// another, see [Action.OrderKey].
func (a *Action) IsOrdered() bool { return len(a.OrderBy) > 0 }

// OrderKey is what a request has in common with those that are carried out one
// after another with it, of the same user: 32 hexadecimal digits. connection is
// the one that the request names, which may be none. Its only error is an
// *events.Error with code invalid_params, for params that are no JSON object.
func (a *Action) OrderKey(params json.RawMessage, connection string) (string, error) {
	object, err := parseParams(params)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q", a.Name)
	for _, dimension := range a.OrderBy {
		value := connection
		if dimension != dimensionConnection {
			value, _ = scalar(object[strings.TrimPrefix(dimension, dimensionParam)])
		}
		fmt.Fprintf(h, " %q", value)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func (a *Action) checkOrderBy(path string, r report) {
	if len(a.OrderBy) > maxOrderKeys {
		r(path, "must be at most %d", maxOrderKeys)
	}
	if len(a.OrderBy) > 0 && a.Effect == EffectRead {
		r(path, "is for writes: a read changes nothing that could come too early")
	}
	for i, dimension := range a.OrderBy {
		name, isParam := strings.CutPrefix(dimension, dimensionParam)
		property, known := a.Params.properties()[name]
		switch {
		case slices.Index(a.OrderBy, dimension) < i:
			r(item(path, i), "%s is there twice", dimension)
		case dimension == dimensionConnection:
		case !isParam || name == "":
			r(item(path, i), "must be connection or params.NAME%s", nearest.Hint(dimension, slices.Values([]string{dimensionConnection})))
		case !known:
			r(item(path, i), "params has no property %q%s", clip(name, 40), nearest.Hint(name, maps.Keys(a.Params.properties())))
		case !isScalarSchema(property):
			r(item(path, i), "params.properties.%s must have type string, integer, number or boolean", name)
		}
	}
}
