package plugfn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/propagation"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	dialTimeout    = 5 * time.Second
	answerTimeout  = 30 * time.Second // for one answer of a service or of the API
	defaultMaxData = 64 << 20         // bytes
)

// Option changes how a client works.
type Option func(*options)

type options struct {
	user       string
	nats       []nats.Option
	api        string
	key        string
	http       *http.Client
	log        zerolog.Logger
	propagator propagation.TextMapPropagator
	maxData    int64
}

// As says for which user the application connects, on a bus that asks who
// connects: the one that its key was made for with `plugfn user add`, or
// [Everyone]. Its inboxes and the consumer that it reads events from follow from
// that. It does not say who acts: each request does.
func As(user string) Option { return func(o *options) { o.user = user } }

// Everyone is the user that a backend for all users connects as, see [As].
const Everyone = events.Everyone

// WithNATS adds options of the NATS client, such as nats.UserCredentials or an
// nkey. It is of no use with [New].
func WithNATS(more ...nats.Option) Option {
	return func(o *options) { o.nats = append(o.nats, more...) }
}

// WithAPI says where the HTTP API is, such as http://localhost:8484, and with
// which key. Without it, what needs the API fails with [ErrNoAPI].
func WithAPI(url, key string) Option {
	return func(o *options) { o.api, o.key = strings.TrimRight(url, "/"), key }
}

// WithHTTPClient sets the client that calls the API; the zero is one that gives
// up after 30 seconds.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.http = c } }

// WithLog sets the log of what nobody is told otherwise, such as events that a
// function gave back. Without it there is none.
func WithLog(log zerolog.Logger) Option { return func(o *options) { o.log = log } }

// WithPropagator sets how a trace travels; without it as W3C trace context. The
// wire contract has a place for traceparent alone.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(o *options) { o.propagator = p }
}

// WithMaxData bounds, in bytes, the data of one result or event that is fetched
// beside its message; without it 64 MiB. Below zero nothing is fetched: a result
// keeps its DataRef, an event too.
func WithMaxData(limit int64) Option { return func(o *options) { o.maxData = limit } }

// Client is a connection to PlugFn. It is safe for concurrent use.
type Client struct {
	options
	conn    *nats.Conn
	js      jetstream.JetStream
	owned   bool // the connection is ours to close
	answers *answers

	lookAgain time.Duration
	closing   context.Context // ends when Close begins
	end       context.CancelFunc

	mu          sync.Mutex
	subscribers map[*subscriber]bool // that are open
}

// Connect connects to the NATS server of a PlugFn; a URL may be several,
// separated by commas. The connection heals by itself when it is lost. Whoever
// calls it closes the client.
func Connect(url string, opts ...Option) (*Client, error) {
	o := gather(opts)
	dial := []nats.Option{nats.Name("plugfn-sdk"), nats.Timeout(dialTimeout), nats.MaxReconnects(-1)}
	if o.user != "" {
		dial = append(dial, nats.CustomInboxPrefix(events.ApplicationInbox(o.user)))
	}
	conn, err := nats.Connect(url, append(dial, o.nats...)...)
	if err != nil {
		return nil, fmt.Errorf("plugfn: connecting to NATS: %w", errors.Join(ErrUnavailable, err))
	}
	c, err := newClient(conn, o)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c.owned = true
	return c, nil
}

// New makes a client of a connection that there is, which stays open when the
// client is closed. With [As], it was made with nats.CustomInboxPrefix and
// [events.ApplicationInbox].
func New(conn *nats.Conn, opts ...Option) (*Client, error) { return newClient(conn, gather(opts)) }

func gather(opts []Option) options {
	o := options{maxData: defaultMaxData, propagator: propagation.TraceContext{}, log: zerolog.Nop()}
	for _, set := range opts {
		set(&o)
	}
	if o.http == nil {
		o.http = &http.Client{Timeout: answerTimeout}
	}
	return o
}

func newClient(conn *nats.Conn, o options) (*Client, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("plugfn: %w", err)
	}
	c := &Client{options: o, conn: conn, js: js, subscribers: map[*subscriber]bool{}, lookAgain: usualLook}
	if c.answers, err = newAnswers(conn); err != nil {
		return nil, fmt.Errorf("plugfn: listening for answers: %w", err)
	}
	c.closing, c.end = context.WithCancel(context.Background())
	return c, nil
}

// NATS is the connection, for what the SDK has no word for. It belongs to the
// client.
func (c *Client) NATS() *nats.Conn { return c.conn }

// Close ends what the client listens to, waits until functions that handle an
// event have returned, and closes the connection, unless it came with [New].
// What waits for a result returns an error. It may be called again.
func (c *Client) Close() error {
	c.mu.Lock()
	c.end()
	open := slices.Collect(maps.Keys(c.subscribers))
	c.mu.Unlock()
	for _, s := range open {
		_ = s.Close() // it never fails
	}
	err := c.answers.close()
	if c.owned {
		c.conn.Close()
		c.http.CloseIdleConnections()
		return nil
	}
	return err
}
