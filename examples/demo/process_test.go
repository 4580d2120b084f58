package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is the program that the tests start: with childVariable set
// it does what its arguments say.
const childVariable = "DEMO_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

func child(args []string) int {
	switch args[0] {
	case "say": // to standard output and standard error, then end with a code
		fmt.Print(args[1])
		fmt.Fprint(os.Stderr, args[2])
		return len(args[3])
	case "environment":
		fmt.Print(strings.Join(os.Environ(), "\n"))
	case "parent":
		if err := exec.CommandContext(context.Background(), os.Args[0], "listen", args[1]).Run(); err != nil {
			return 1
		}
	case "listen": // whatever it is told, and say in a file where
		signal.Ignore(syscall.SIGTERM)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 1
		}
		if err := os.WriteFile(args[1], []byte(l.Addr().String()+"\n"), 0o600); err != nil {
			return 1
		}
		for {
			if _, err := l.Accept(); err != nil {
				return 1
			}
		}
	}
	return 0
}

// startChild starts the test binary.
func startChild(t *testing.T, fail context.CancelCauseFunc, args ...string) *process {
	t.Helper()
	t.Setenv(childVariable, "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if fail == nil {
		fail = func(error) {}
	}
	p, err := startProcess(t.Context(), fail, t.TempDir(), self, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.settle(nil) })
	return p
}

func TestProcessEndsWell(t *testing.T) {
	ctx, fail := context.WithCancelCause(t.Context())
	p := startChild(t, fail, "say", "data", "words", "")
	if err := p.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.out.String() != "data" || p.said.String() != "words" {
		t.Errorf("got %q and %q", p.out.String(), p.said.String())
	}
	if err := p.settle(nil); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Error("a good end ended everything")
	}
}

func TestProcessEndsBadly(t *testing.T) {
	ctx, fail := context.WithCancelCause(t.Context())
	p := startChild(t, fail, "say", "", "a\nb\n", "xxx")
	if err := p.wait(t.Context()); err == nil || err.Error() != "exit status 3" {
		t.Errorf("got %v", err)
	}
	<-ctx.Done() // everything ends with it
	if why := context.Cause(ctx).Error(); !strings.HasSuffix(why, ": exit status 3") {
		t.Errorf("everything ended because of %q", why)
	}
	err := p.settle(errors.New("step: wrong"))
	if err == nil || !strings.HasPrefix(err.Error(), "step: wrong\n\nlast words of ") || !strings.HasSuffix(err.Error(), ":\na\nb") {
		t.Errorf("got %v", err)
	}
}

func TestSettleEndsTheWholeGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "addr")
	p := startChild(t, nil, "parent", file)
	var addr string
	err := poll(t.Context(), func() bool {
		text, _ := os.ReadFile(file)
		var whole bool
		addr, whole = strings.CutSuffix(string(text), "\n")
		return whole
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := p.settle(nil); err != nil {
		t.Fatal(err)
	}
	// The grandchild holds the connection and sends nothing: this returns once
	// it is gone.
	if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
		t.Error("the grandchild sends")
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("PLUGFN_NATS_URL", "nats://elsewhere")
	t.Setenv("NATS_URL", "nats://elsewhere")
	t.Setenv("OTHER", "stays")
	p := startChild(t, nil, "environment")
	if err := p.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(p.out.String(), "\n")
	if slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, "elsewhere") }) {
		t.Errorf("the person's own settings reach the programs: %q", got)
	}
	if !slices.Contains(got, "OTHER=stays") {
		t.Errorf("other variables are lost: %q", got)
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	_, err := startProcess(t.Context(), func(error) {}, t.TempDir(), t.TempDir()+"/plugfn")
	if err == nil || !strings.Contains(err.Error(), "starting plugfn") {
		t.Errorf("got %v", err)
	}
}

func TestTail(t *testing.T) {
	var kept tail
	for i := range 1000 {
		if _, err := fmt.Fprintf(&kept, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	text := kept.String()
	if len(text) > maxTail || !strings.HasPrefix(text, "line ") || !strings.HasSuffix(text, "line 999") {
		t.Errorf("%d bytes: %.20s … %s", len(text), text, text[len(text)-10:])
	}
	var long tail
	if _, err := long.Write([]byte(strings.Repeat("x", 2*maxTail))); err != nil {
		t.Fatal(err)
	}
	if len(long.String()) != maxTail {
		t.Errorf("%d bytes of one line are kept", len(long.String()))
	}
}
