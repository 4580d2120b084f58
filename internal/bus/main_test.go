package bus_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
)

// These tell this binary to be the process that gets killed, see startChild.
const (
	childDir        = "PLUGFN_TEST_CHILD_DIR"
	childDurability = "PLUGFN_TEST_CHILD_DURABILITY"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		runChild(bus.Config{Dir: dir, Addr: "-", Durability: bus.Durability(os.Getenv(childDurability))})
	}
	goleak.VerifyTestMain(m)
}

// childMessages is how many acknowledged messages the child leaves behind.
const childMessages = 200

// runChild opens a store, publishes to it, says so and waits to be killed.
func runChild(cfg bus.Config) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	b, err := bus.Open(background, cfg)
	if err != nil {
		fail(err)
	}
	for i := range childMessages {
		if _, err := b.JetStream().Publish(background, fmt.Sprintf("plugfn.action.u%d.p.a", i), []byte("{}")); err != nil {
			fail(err)
		}
	}
	fmt.Println("ready")
	select {}
}

// startChild starts another process on dir and returns when it has published.
// The caller kills it.
func startChild(t *testing.T, dir string, d bus.Durability) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir, childDurability+"="+d.String())
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(child) })
	var word string
	if _, err := fmt.Fscan(out, &word); err != nil || word != "ready" {
		t.Fatalf("child says %q, %v", word, err)
	}
	return child
}

// kill ends child as a crash would.
func kill(child *exec.Cmd) {
	_ = child.Process.Kill()
	_ = child.Wait()
}
