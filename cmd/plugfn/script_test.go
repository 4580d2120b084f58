package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"plugfn": main})
}

// withoutRace builds the program without the race detector, where the tests have
// it, and returns its folder. The stories start hundreds of processes, each
// several times as slow with it; the rooms' own tests look for races.
func withoutRace(t *testing.T) string {
	t.Helper()
	if !raceDetector {
		return ""
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "plugfn"), ".").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return dir
}

// TestScripts tells the stories of testdata/script with the real program.
func TestScripts(t *testing.T) {
	program := withoutRace(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			examples, err := filepath.Abs("../../examples/workflows")
			if err != nil {
				return err
			}
			env.Vars = append(env.Vars, noRacePause, "EXAMPLES="+examples)
			if program != "" {
				env.Setenv("PATH", program+string(os.PathListSeparator)+env.Getenv("PATH"))
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":    waitForDev,
			"exits":    runForExitCode,
			"http":     sendHTTP,
			"freeport": findFreePort,
			"natsd":    startNATS,
			"sandbox":  startSandbox,
			"loser":    startLoser,
			"consent":  giveConsent,
			"envfile":  setFromFile,
		},
	})
}

// noRacePause keeps programs built with the race detector from waiting a second
// before they exit.
const noRacePause = "GORACE=atexit_sleep_ms=0"

const patience = 20 * time.Second

// eventually waits until ok says so.
func eventually(what string, ok func() bool) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return fmt.Errorf("%s: not within %s", what, patience)
}

// waitForDev: ready [dir]. Waits until the plugfn dev of a directory is ready
// and sets HTTP_URL and NATS_URL.
func waitForDev(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(".plugfn")
	if len(args) > 0 {
		dir = ts.MkAbs(args[0])
	}
	var c contextFile
	ts.Check(eventually("plugfn dev in "+dir, func() bool {
		var err error
		c, err = readContext(filepath.Join(dir, contextName))
		return err == nil && c != contextFile{}
	}))
	ts.Setenv("HTTP_URL", c.HTTPURL)
	ts.Setenv("NATS_URL", c.NATSURL)
}

// setFromFile: envfile <name> <file>. Sets a variable to the text of a file.
func setFromFile(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// runForExitCode: exits <code> <program> <args…>. Runs a program that must end
// with this code.
func runForExitCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d (%s), want %d", code, exitCode(code), want)
	}
}

// sendHTTP: http <status> <method> <url> [name:value…] [@file]. Sends a request
// until it is answered with the status, and prints the body.
func sendHTTP(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	header, body := http.Header{}, ""
	for _, arg := range args[3:] {
		if file, ok := strings.CutPrefix(arg, "@"); ok {
			body = ts.ReadFile(file)
			continue
		}
		name, value, _ := strings.Cut(arg, ":")
		header.Set(name, value)
	}
	got, text := 0, []byte(nil)
	err = eventually(fmt.Sprintf("status %d of %s", status, args[2]), func() bool {
		r, err := http.NewRequest(args[1], args[2], strings.NewReader(body))
		ts.Check(err)
		r.Header = header
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return false // nobody listens yet
		}
		defer answer.Body.Close()
		text, err = io.ReadAll(answer.Body)
		got = answer.StatusCode
		return err == nil && (got == status || got != http.StatusServiceUnavailable)
	})
	ts.Check(err)
	_, _ = io.Copy(ts.Stdout(), bytes.NewReader(text))
	if got != status {
		ts.Fatalf("status %d, want %d: %s", got, status, text)
	}
}

// findFreePort: freeport <NAME…>. Sets variables to ports that nobody uses.
func findFreePort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close() // all are held until each has another one
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
}

// startNATS: natsd [file]. Starts a NATS server, with the configuration of a
// file, and sets NATS_URL.
func startNATS(ts *testscript.TestScript, _ bool, args []string) {
	opts := &server.Options{}
	if len(args) > 0 {
		ts.Check(opts.ProcessConfigFile(ts.MkAbs(args[0])))
	}
	opts.Host, opts.Port, opts.JetStream, opts.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, ts.MkAbs("natsd")
	opts.NoSigs, opts.NoLog = true, true
	srv, err := server.NewServer(opts)
	ts.Check(err)
	srv.Start()
	ts.Defer(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		ts.Fatalf("the NATS server did not start")
	}
	ts.Setenv("NATS_URL", srv.ClientURL())
}

// startSandbox: sandbox. Plays the built-in providers and sets SANDBOX_URL.
func startSandbox(ts *testscript.TestScript, _ bool, _ []string) {
	packs, err := providertest.Catalog()
	ts.Check(err)
	box, err := sandbox.New(sandbox.Config{Packs: packs, Log: zerolog.Nop()})
	ts.Check(err)
	srv := httptest.NewServer(box.Handler())
	ts.Defer(srv.Close)
	ts.Setenv("SANDBOX_URL", srv.URL)
}

// startLoser: loser. Starts a provider that takes each request and ends without
// an answer, and sets LOSER_URL.
func startLoser(ts *testscript.TestScript, _ bool, _ []string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}))
	ts.Defer(srv.Close)
	ts.Setenv("LOSER_URL", srv.URL)
}

// giveConsent: consent <file> <0|1>. Waits for the last link that a program
// writes to a file, opens it as a browser without JavaScript does, allows or
// refuses there, and prints the page where that ends.
func giveConsent(ts *testscript.TestScript, _ bool, args []string) {
	link := ""
	ts.Check(eventually("a link in "+args[0], func() bool {
		text, _ := os.ReadFile(ts.MkAbs(args[0])) // not there yet
		for word := range strings.FieldsSeq(string(text)) {
			if strings.HasPrefix(word, "http://") {
				link = word
			}
		}
		return strings.Contains(string(text), "Waiting")
	}))
	u, err := url.Parse(link)
	ts.Check(err)
	u.RawQuery += "&approve=" + args[1]
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	browser := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := browser.Get(u.String())
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
}
