package ingress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a connection on which size bytes come, in pieces with a pause before
// each. It ends a read at its deadline, as a server's does.
type wire struct {
	http.ResponseWriter
	size, piece int
	pause       time.Duration
	deadline    time.Time
}

func (c *wire) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *wire) Read(p []byte) (int, error) {
	if c.size == 0 {
		return 0, io.EOF
	}
	if left := time.Until(c.deadline); !c.deadline.IsZero() && left < c.pause {
		time.Sleep(left)
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(c.pause)
	n := min(c.piece, c.size, len(p))
	c.size -= n
	return n, nil
}

// TestSlowBodies: a body may take its time and a pause, but neither come by drops
// nor slower in the long run than it has to.
func TestSlowBodies(t *testing.T) {
	for _, tt := range []struct {
		name        string
		size, piece int
		pause       time.Duration
		cutBy       time.Duration // 0: it arrives
	}{
		{"by drops", 1 << 20, 1, 4 * time.Second, bodyPatience + deadlineStep},
		{"one byte and silence", 1 << 20, 1, time.Minute, bodyPatience},
		{"at half the rate", 25 << 20, readRate / 2, time.Second, 12 * time.Second},
		{"at the rate", 25 << 20, readRate, time.Second, 0},
		{"in one piece after a pause", 16 << 10, 16 << 10, bodyPatience - time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				c := &wire{ResponseWriter: httptest.NewRecorder(), size: tt.size, piece: tt.piece, pause: tt.pause}
				body, room := newSteady(c, c), make([]byte, 1<<20)
				var err error
				for err == nil {
					_, err = body.Read(room)
				}
				took := time.Since(began)
				if tt.cutBy == 0 && !errors.Is(err, io.EOF) || tt.cutBy > 0 && (!errors.Is(err, os.ErrDeadlineExceeded) || took > tt.cutBy) {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}

// A sender that falls silent in the middle of its body is cut off, and holds
// nothing any more.
func TestSilentInTheMiddle(t *testing.T) {
	t.Parallel() // it waits
	const held = 1 << 20
	g := open(t, func(c *Config) { c.MaxBytes = held + firstPiece })
	pad := `{"pad":"` + strings.Repeat("x", 2*firstPiece) + `"}` // wants more than is left
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(4 * bodyPatience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", held-1, strings.Repeat("x", 2*firstPiece))
	g.eventually("the budget to be taken", func() bool {
		status, _ := g.send("github", g.signed("d-1", "push", pad))
		return status == http.StatusServiceUnavailable
	})
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("cut off with %v, %v", answer, err)
	}
	g.eventually("the budget to be free", func() bool {
		status, _ := g.send("github", g.signed("d-2", "push", pad))
		return status == http.StatusOK
	})
}
