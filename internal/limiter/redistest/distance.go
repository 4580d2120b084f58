//go:build unix

package redistest

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// Distant is the address of a door to the server that is far away: each answer
// comes later by delay. The door closes with the test.
func (s *Server) Distant(t testing.TB, delay time.Duration) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{to: s.Addr, delay: delay, closed: make(chan struct{})}
	d.wait.Go(func() { d.accept(listener) })
	t.Cleanup(func() {
		close(d.closed)
		_ = listener.Close()
		d.wait.Wait()
	})
	return listener.Addr().String()
}

type door struct {
	to     string
	delay  time.Duration
	closed chan struct{}
	wait   sync.WaitGroup
}

func (d *door) accept(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", d.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		gone := make(chan struct{}, 2)
		d.wait.Go(func() {
			_, _ = io.Copy(far, near) // ends with either side
			gone <- struct{}{}
		})
		d.wait.Go(func() {
			d.late(near, far)
			gone <- struct{}{}
		})
		d.wait.Go(func() {
			select {
			case <-gone:
			case <-d.closed:
			}
			_, _ = near.Close(), far.Close()
		})
	}
}

// late copies answers, each piece after the delay.
func (d *door) late(near io.Writer, far io.Reader) {
	piece := make([]byte, 32<<10)
	for {
		n, err := far.Read(piece)
		if err != nil {
			return
		}
		select {
		case <-time.After(d.delay):
		case <-d.closed:
			return
		}
		if _, err := near.Write(piece[:n]); err != nil {
			return
		}
	}
}

// freePort is a port that nobody listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

func showLog(t testing.TB, path string) {
	t.Helper()
	text, _ := os.ReadFile(path)
	t.Logf("redis-server:\n%s", text)
}
