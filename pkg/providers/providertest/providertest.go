// Package providertest is the conformance suite of packs. A pack that passes
// does what its fixtures say, and refuses what no pack may accept:
//
//	func TestGitHub(t *testing.T) { providertest.Run(t, pack) }
//
// Allowed imports: the standard library, go-cmp, pkg/providers and its catalog,
// pkg/events.
package providertest

import (
	"testing"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Run runs the whole suite: every fixture of an action and of a delivery,
// the attacks that each of them is subjected to, and the triggers.
func Run(t *testing.T, pack *providers.Pack) {
	t.Helper()
	t.Run("actions", func(t *testing.T) { actions(t, pack) })
	t.Run("deliveries", func(t *testing.T) { deliveries(t, pack) })
	t.Run("triggers", func(t *testing.T) { triggers(t, pack) })
}
