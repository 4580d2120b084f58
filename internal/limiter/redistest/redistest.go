//go:build unix

package redistest

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Server is a running redis-server. Its methods fail the test when they cannot
// do what they say.
type Server struct {
	Addr string // host:port

	args    []string // of redis-server
	process *exec.Cmd
	ended   chan struct{}
	log     string
	client  *redis.Client // patient, for what the test itself does
}

const (
	startPatience = 20 * time.Second
	startTries    = 3 // ports that somebody else has taken meanwhile
)

// Installed reports whether there is a redis-server to start.
func Installed() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil
}

// Start starts a server that keeps nothing on disk, with further arguments such
// as --cluster-enabled yes, and returns once it answers. It fails the test
// where redis-server is missing: who would rather skip asks Installed.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: apt-get install redis-server, or leave the build tag integration out")
	}
	for range startTries {
		if s := start(t, path, args); s != nil {
			return s
		}
	}
	t.Fatal("redis-server does not start, see its log above")
	return nil
}

// start is one try; nil: it ended before it answered.
func start(t testing.TB, path string, args []string) *Server {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	s := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port), log: filepath.Join(dir, "redis.log")}
	s.args = append([]string{
		path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--logfile", s.log, "--save", "", "--appendonly", "no",
	}, args...)
	s.spawn(t)
	t.Cleanup(func() { s.Stop(t) })
	s.client = redis.NewClient(&redis.Options{
		Addr: s.Addr, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = s.client.Close() })
	if s.answers(t) {
		return s
	}
	showLog(t, s.log)
	return nil
}

func (s *Server) spawn(t testing.TB) {
	t.Helper()
	process, ended := exec.CommandContext(context.Background(), s.args[0], s.args[1:]...), make(chan struct{}) //nolint:gosec // the test's own arguments
	if err := process.Start(); err != nil {
		t.Fatalf("starting redis-server: %v", err)
	}
	s.process, s.ended = process, ended
	go func() {
		_ = process.Wait() // how it ended does not matter: tests kill it
		close(ended)
	}()
}

// Restart starts a stopped server again, at the same address and empty, and
// returns once it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.spawn(t)
	if !s.answers(t) {
		showLog(t, s.log)
		t.Fatal("redis-server does not start again, see its log above")
	}
}

// answers waits for the server's first answer; false: the process ended.
func (s *Server) answers(t testing.TB) bool {
	t.Helper()
	for end := time.Now().Add(startPatience); time.Now().Before(end); {
		if s.client.Ping(context.Background()).Err() == nil {
			return true
		}
		select {
		case <-s.ended:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	showLog(t, s.log)
	t.Fatalf("redis-server at %s does not answer", s.Addr)
	return false
}

// Client is a patient client of the server, for the test's own questions. It is
// closed with the test.
func (s *Server) Client() *redis.Client { return s.client }

// Flush forgets everything, the scripts as well.
func (s *Server) Flush(t testing.TB) {
	t.Helper()
	if err := s.client.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.client.ScriptFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops the process where it is: connections stay open, nothing is
// answered.
func (s *Server) Freeze(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (s *Server) Thaw(t testing.TB) { s.signal(t, syscall.SIGCONT) }

// Stop kills the process and waits until it is gone. It may be called again.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	select {
	case <-s.ended:
		return
	default:
	}
	_ = s.process.Process.Kill() // fails only where it has ended by itself
	<-s.ended
}

func (s *Server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		t.Fatalf("redis-server: %s: %v", signal, err)
	}
}
