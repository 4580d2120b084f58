package bus_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve runs a NATS server of its own, as an operator would.
func serve(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.NoSigs, opts.NoLog = "127.0.0.1", true, true
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if opts.JetStream && opts.StoreDir == "" {
		opts.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { halt(s) })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server does not get ready")
	}
	return s
}

func halt(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func open(t *testing.T, cfg bus.Config) error {
	t.Helper()
	b, err := bus.Open(t.Context(), cfg)
	if err == nil {
		bustest.Close(t, b)
	}
	return err
}

func TestOpenUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = bus.Open(ctx, bus.Config{URL: "nats://me:sesame@" + l.Addr().String()})
	wantError(t, err, "nats://"+l.Addr().String(), "PLUGFN_NATS_URL")
	if strings.Contains(err.Error(), "sesame") {
		t.Errorf("the password is in the error: %v", err)
	}
}

// TestOpenWaits starts the server after the bus that wants it.
func TestOpenWaits(t *testing.T) {
	port := freePort(t)
	opened := make(chan error)
	go func() { opened <- open(t, bus.Config{URL: fmt.Sprintf("127.0.0.1:%d", port)}) }()
	serve(t, server.Options{JetStream: true, Port: port})
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestOpenWithoutJetStream(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		s := serve(t, server.Options{})
		wantError(t, open(t, bus.Config{URL: s.ClientURL()}), "JetStream is off on the server", "PLUGFN_NATS_URL")
	})
	t.Run("account", func(t *testing.T) {
		acme := server.NewAccount("ACME")
		s := serve(t, server.Options{
			JetStream: true,
			Accounts:  []*server.Account{acme},
			Users:     []*server.User{{Username: "me", Password: "sesame", Account: acme}},
		})
		err := open(t, bus.Config{URL: fmt.Sprintf("nats://me:sesame@%s", s.Addr())})
		wantError(t, err, "JetStream is off for this account")
	})
}

// TestOpenOldServer speaks just enough NATS to be refused.
func TestOpenOldServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, `INFO {"server_id":"A","version":"2.10.29","headers":true,"max_payload":1048576}`+"\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if lines.Text() == "PING" {
				fmt.Fprint(conn, "PONG\r\n")
			}
		}
	}()
	err = open(t, bus.Config{URL: "nats://" + l.Addr().String()})
	wantError(t, err, "2.10.29", "2.14.0 or later")
	l.Close()
	<-served
}

func TestOpenReplicatedOnOneServer(t *testing.T) {
	s := serve(t, server.Options{JetStream: true})
	for _, d := range []bus.Durability{bus.HA, bus.Strict} {
		err := open(t, bus.Config{URL: s.ClientURL(), Durability: d})
		wantError(t, err, "durability "+d.String()+" needs a cluster of 3 servers", "use single")
	}
}

// account is a server account where "me" may do anything but read or write
// below "denied.".
func account(password string) []*server.User {
	not := &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"denied.>"}}
	return []*server.User{{Username: "me", Password: password, Permissions: &server.Permissions{Publish: not, Subscribe: not}}}
}

func TestFaultsAreCountedAndLogged(t *testing.T) {
	s := serve(t, server.Options{JetStream: true, Users: account("sesame")})
	var text lockedBuffer
	b := bustest.New(t, func(c *bus.Config) {
		c.URL = fmt.Sprintf("nats://me:sesame@%s", s.Addr())
		c.Log = zerolog.New(&text)
	})
	if err := b.Conn().Publish("denied.it", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().Flush(); err != nil { // the refusal comes before the answer to this
		t.Fatal(err)
	}
	bustest.Close(t, b) // and the handler has run by now
	if b.Faults() != 1 {
		t.Errorf("%d faults, want 1", b.Faults())
	}
	if log := text.String(); !strings.Contains(log, "denied.it") || strings.Contains(log, "sesame") {
		t.Errorf("log is without the subject or with the password:\n%s", log)
	}
}

func TestOpenRefused(t *testing.T) {
	s := serve(t, server.Options{JetStream: true, Users: account("sesame")})
	err := open(t, bus.Config{URL: fmt.Sprintf("nats://me:open@%s", s.Addr())})
	wantError(t, err, "Authorization Violation", "credentials")
	if strings.Contains(err.Error(), "open@") {
		t.Errorf("the password is in the error: %v", err)
	}
}

func TestOpenWithNKey(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "nkey")
	writeFile(t, file, string(seed))
	s := serve(t, server.Options{JetStream: true, Nkeys: []*server.NkeyUser{{Nkey: public}}})
	if err := open(t, bus.Config{URL: s.ClientURL(), NKey: file}); err != nil {
		t.Error(err)
	}
	writeFile(t, file, "no seed")
	err = open(t, bus.Config{URL: s.ClientURL(), NKey: file})
	wantError(t, err, "reading nkey", file)
}

// TestServerGoesAndComes restarts the server below an open bus.
func TestServerGoesAndComes(t *testing.T) {
	opts := server.Options{JetStream: true, Port: freePort(t), StoreDir: t.TempDir()}
	s := serve(t, opts)
	b := bustest.New(t, func(c *bus.Config) { c.URL = s.ClientURL() })
	halt(s)
	for b.Conn().IsConnected() {
		time.Sleep(time.Millisecond)
	}
	wantError(t, b.Ready(t.Context()), "RECONNECTING")
	if _, err := b.JetStream().Publish(t.Context(), "plugfn.event.u1.p.e", nil); err == nil {
		t.Error("a publish to a server that is away is acknowledged")
	}
	serve(t, opts)
	for b.Ready(t.Context()) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if n := info(t, b, "PLUGFN_EVENTS").State.Msgs; n != 0 {
		t.Errorf("%d messages, want none: what failed was sent later", n)
	}
}

// lockedBuffer is a log that is written and read by different goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
