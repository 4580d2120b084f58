//go:build unix

package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
)

// childVariable tells this binary to be a server under test, see startChild.
const childVariable = "PLUGFN_BENCH_CHILD"

// profileVariable is the directory for processor profiles of the servers under
// test; "": none are made.
const profileVariable = "PLUGFN_BENCH_PROFILES"

// child is what a process of its own is to be. What clients cost does not count
// there, and its memory is its own.
type child struct {
	Role       string // baseline, plugfn, ceiling or bus
	Dir        string
	Durability bus.Durability
	BusURL     string // "": a bus of its own in the same process
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// runChild serves until its standard input ends.
func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	on, err := bus.Open(ctx, bus.Config{
		Dir: c.Dir, URL: c.BusURL, Addr: map[bool]string{true: "127.0.0.1:0", false: "-"}[c.Role == "bus"],
		Durability: c.Durability, Name: "bench",
	})
	if err != nil {
		return err
	}
	defer on.Close(context.Background())
	url := on.ClientURL()
	if c.Role != "bus" {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /usage", serveUsage)
		handler, err := c.handler(ctx, on)
		if err != nil {
			return err
		}
		mux.Handle("/webhooks/", handler)
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
		go server.Serve(l) //nolint:errcheck // ends with the process
		defer server.Close()
		url = "http://" + l.Addr().String()
	}
	stop, err := c.profile()
	if err != nil {
		return err
	}
	defer stop()
	fmt.Println(url)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// profile starts a processor profile, if one is wanted.
func (c child) profile() (stop func(), err error) {
	dir := os.Getenv(profileVariable)
	if dir == "" {
		return func() {}, nil
	}
	f, err := os.CreateTemp(dir, c.Role+"-*.prof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

// handler takes deliveries at the path of GitHub's.
func (c child) handler(ctx context.Context, on *bus.Bus) (http.Handler, error) {
	switch c.Role {
	case "baseline":
		return handMade(on.JetStream()), nil
	case "ceiling":
		return verifyOnly(), nil
	}
	spool, err := bus.OpenSpool(ctx, bus.SpoolConfig{Dir: c.Dir + "-spool"})
	if err != nil {
		return nil, err
	}
	service, err := newReceiving(on, spool.JetStream())
	if err != nil {
		return nil, err
	}
	go service.Run(ctx) //nolint:errcheck // ends with the process
	return service.routes(ctx)
}

// usage is what a process has used so far.
type usage struct {
	CPU       time.Duration
	Allocated uint64 // bytes
	Peak      int64  // bytes of memory, at most so far
}

func serveUsage(w http.ResponseWriter, _ *http.Request) {
	u, err := ownUsage()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(u)
}

func ownUsage() (u usage, err error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	u.Allocated = m.TotalAlloc
	u.Peak = r.Maxrss << 10 // Linux counts in KiB
	return u, nil
}

// side is a server under test in a process of its own.
type side struct {
	name string
	at   string // its address
}

// startChild runs c until the end of the benchmark.
func startChild(b *testing.B, c child) *side {
	b.Helper()
	c.Dir = cmp.Or(c.Dir, filepath.Join(b.TempDir(), "bus"))
	text, err := json.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	process := exec.CommandContext(context.Background(), os.Args[0])
	process.Env = append(os.Environ(), childVariable+"="+string(text))
	process.Stderr = os.Stderr
	in, err := process.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := process.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := process.Wait(); err != nil {
			b.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("%s does not start: %v", c.Role, err)
	}
	return &side{name: c.Role, at: strings.TrimSpace(line)}
}

// startSides runs the baseline and PlugFn, in this order.
func startSides(b *testing.B, mode bus.Durability) [2]*side {
	b.Helper()
	return [2]*side{
		startChild(b, child{Role: "baseline", Durability: mode}),
		startChild(b, child{Role: "plugfn", Durability: mode}),
	}
}

// webhook is where GitHub's deliveries go.
func (s *side) webhook() string { return s.at + "/webhooks/github" }

func (s *side) usage(b *testing.B) (u usage) {
	b.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.at+"/usage", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Body.Close()
	if err := json.NewDecoder(w.Body).Decode(&u); err != nil {
		b.Fatal(err)
	}
	return u
}
