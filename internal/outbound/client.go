package outbound

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Config holds what a client needs. The zero value reaches public hosts.
type Config struct {
	// Trusted are base URLs that the operator answers for: their origins are
	// not guarded. Those that are no URLs count for nothing.
	Trusted []string
	// AllowPrivate are networks that guarded hosts may be in although they are
	// not public.
	AllowPrivate []netip.Prefix
	// AnyAddress takes the guard away: every host is trusted.
	AnyAddress bool

	ConnsPerHost int           // at once, the idle ones counted; 0: 128
	NoReuse      bool          // a connection serves one request
	MaxBody      int64         // bytes of an answer, decompressed; 0: 128 MiB
	Timeout      time.Duration // of a request with its answer, where its context has no nearer end, and of each redirect that is followed; 0: 11 minutes
	TLS          *tls.Config   // nil: the system's certificates
}

const (
	dialTimeout    = 5 * time.Second
	idleTimeout    = 60 * time.Second
	idle           = 1024 // connections to all hosts of a class
	connsPerHost   = 128
	maxHeader      = 64 << 10 // bytes of an answer's header
	maxBody        = 128 << 20
	defaultTimeout = 11 * time.Minute // an attempt of an action may take ten

	// A connection of HTTP/2 that has died shows it only when it is asked.
	pingAfter   = 15 * time.Second
	pingTimeout = 10 * time.Second
)

// New makes a client. It is safe for concurrent use; CloseIdleConnections ends
// the connections that it keeps.
func New(cfg Config) *http.Client {
	t := &transport{
		trusted: newTransport(cfg, nil),
		guarded: newTransport(cfg, newGuard(cfg.AllowPrivate)),
		origins: map[string]bool{},
		any:     cfg.AnyAddress,
		maxBody: cmp.Or(cfg.MaxBody, maxBody),
		timeout: cmp.Or(cfg.Timeout, defaultTimeout),
	}
	for _, base := range cfg.Trusted {
		if u, err := url.Parse(base); err == nil && u.Host != "" {
			t.origins[originOf(u)] = true
		}
	}
	// No time-out of the client's own: for a transport that it does not know, it
	// starts two goroutines for each request.
	return &http.Client{Transport: t, CheckRedirect: t.checkRedirect}
}

func newTransport(cfg Config, control control) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: control}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        cfg.TLS.Clone(),
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           idle,
		MaxIdleConnsPerHost:    cmp.Or(cfg.ConnsPerHost, connsPerHost), // to close some after each burst is to open them again
		MaxConnsPerHost:        cmp.Or(cfg.ConnsPerHost, connsPerHost),
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // RoundTrip does it, within bounds
		DisableKeepAlives:      cfg.NoReuse,
		ForceAttemptHTTP2:      true, // a dialer of one's own switches it off
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	return t
}

// originOf is scheme, host and port of u, the port always written.
func originOf(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	switch {
	case port != "":
	case scheme == "https":
		port = "443"
	case scheme == "http":
		port = "80"
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
