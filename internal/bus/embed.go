package bus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/plugfn/plugfn/pkg/events"
)

// embedded is a NATS server in this process, and the lock on its directory.
type embedded struct {
	*server.Server
	gate *gate // nil: whoever comes is let in
	lock *os.File
}

// startServer opens the store and starts to listen. It takes as long as the
// store needs to be read.
func startServer(cfg Config) (*embedded, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: lock}
	if err := e.start(cfg); err != nil {
		return nil, errors.Join(err, e.stop())
	}
	return e, nil
}

func (e *embedded) start(cfg Config) error {
	opts, err := serverOptions(cfg)
	if err != nil {
		return err
	}
	if err := e.guard(cfg, opts); err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("configuring the embedded NATS server: %w", err)
	}
	if e.gate != nil {
		if err := e.gate.open(srv); err != nil {
			return err
		}
	}
	log := &serverLog{log: cfg.Log}
	srv.SetLoggerV2(log, false, false, false)
	e.Server = srv
	srv.Start() // returns once the store is read and the port is open
	if err := log.gaveUp(); err != nil {
		return startError(cfg.Addr, err)
	}
	if !srv.ReadyForConnections(time.Second) {
		return errors.New("the embedded NATS server did not get ready")
	}
	return nil
}

// guard puts a gate before the server, if the configuration wants one.
func (e *embedded) guard(cfg Config, opts *server.Options) error {
	if !cfg.Secure {
		return nil
	}
	keys, err := RoleKeys(cfg.keyDir())
	if err != nil {
		return err
	}
	e.gate = newGate(keys)
	opts.CustomClientAuthentication = e.gate
	opts.AlwaysEnableNonce = true
	return nil
}

// stop ends the server, waits for it and unlocks the directory.
func (e *embedded) stop() error {
	if e.Server != nil {
		e.Shutdown()
		e.WaitForShutdown()
	}
	return e.lock.Close()
}

func serverOptions(cfg Config) (*server.Options, error) {
	opts := &server.Options{
		ServerName:             events.Token(cfg.Name),
		DontListen:             !cfg.listens(),
		MaxPayload:             cfg.payload,
		JetStream:              true,
		StoreDir:               cfg.Dir,
		SyncAlways:             cfg.Durability.syncAlways(),
		JetStreamMaxMemory:     256 << 20,
		JetStreamMaxStore:      math.MaxInt64 / 4, // the disk is the limit: it shows as a write error
		DisableJetStreamBanner: true,
		NoSigs:                 true,
		NoLog:                  true,
	}
	if opts.DontListen {
		return opts, nil
	}
	var err error
	opts.Host, opts.Port, err = cfg.hostPort()
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, err
}

// url is where other processes reach the server; empty if it does not listen.
func (e *embedded) url() string {
	addr := e.listening()
	if addr == nil {
		return ""
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// listens reports whether other processes may reach the server.
func (e *embedded) listens() bool { return e.listening() != nil }

// isPublic reports whether other machines may reach the server.
func (e *embedded) isPublic() bool {
	addr := e.listening()
	return addr != nil && !addr.IP.IsLoopback()
}

// listening is the address of the server; nil if it does not listen.
func (e *embedded) listening() *net.TCPAddr {
	addr, _ := e.Addr().(*net.TCPAddr)
	return addr
}

// startError says what to do about an error that kept the server from
// starting.
func startError(addr string, err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "listen" {
		return fmt.Errorf("starting the embedded NATS server: %w", err)
	}
	const other = "choose another address with PLUGFN_NATS_ADDR (127.0.0.1:0 takes any free port)"
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listening on %s: %w: %s", addr, op.Err, other)
	}
	if version, ok := natsAt(addr); ok {
		return fmt.Errorf("listening on %s: a NATS server (version %s) is there already, probably another plugfn: stop it, connect to it with PLUGFN_NATS_URL, or %s", addr, version, other)
	}
	return fmt.Errorf("listening on %s: another program has this port: stop it, or %s", addr, other)
}

// natsAt asks whoever listens at addr whether it is a NATS server. One says
// so, unasked, in its first line.
func natsAt(addr string) (version string, ok bool) {
	const patience = 250 * time.Millisecond
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", false
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	line, _ := bufio.NewReader(io.LimitReader(conn, 8<<10)).ReadString('\n')
	text, isNATS := strings.CutPrefix(line, "INFO ")
	var greeting struct {
		Version string `json:"version"`
	}
	if !isNATS || json.Unmarshal([]byte(text), &greeting) != nil {
		return "", false
	}
	if _, _, readable := parseVersion(greeting.Version); !readable {
		return "unknown", true
	}
	return greeting.Version, true
}
