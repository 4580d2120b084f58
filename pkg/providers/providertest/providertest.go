// Package providertest is the conformance suite of packs. A pack that passes
// does what its fixtures say, and refuses what no pack may accept:
//
//	func TestGitHub(t *testing.T) { providertest.Run(t, pack) }
//
// [Check] is the same outside of a test, for `plugfn provider test`.
//
// Allowed imports: the standard library, go-cmp, pkg/providers and its catalog,
// pkg/events.
package providertest

import (
	"context"
	"testing"

	"github.com/plugfn/plugfn/pkg/providers"
)

// T is what the suite needs of a test.
type T interface {
	Helper()
	Context() context.Context
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Run(name string, part func(T))
}

// Run runs the whole suite: every fixture of an action and of a delivery,
// the attacks that each of them is subjected to, and the triggers.
func Run(t *testing.T, pack *providers.Pack) {
	t.Helper()
	suite(inTest{t}, pack)
}

func suite(t T, pack *providers.Pack) {
	t.Run("actions", func(t T) { actions(t, pack) })
	t.Run("deliveries", func(t T) { deliveries(t, pack) })
	t.Run("triggers", func(t T) { triggers(t, pack) })
}

// inTest is a test of the go command.
type inTest struct{ *testing.T }

// Run runs a part as a test below this one.
func (t inTest) Run(name string, part func(T)) {
	t.Helper()
	t.T.Run(name, func(t *testing.T) { part(inTest{t}) })
}
