package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// startPatience is for a server or a cluster that is still starting; the
	// others are for one attempt on it.
	startPatience = 10 * time.Second
	dialTimeout   = 2 * time.Second
	askTimeout    = time.Second
	attemptPause  = 250 * time.Millisecond

	// inboxPrefix differs from the one that applications use, so that a reader
	// of theirs does not see the replies to ours. The role follows.
	inboxPrefix = "_PLUGFN_INBOX."
)

// connect connects to the embedded server, or to that of the configuration.
func (b *Bus) connect(ctx context.Context) (err error) {
	options, err := b.clientOptions()
	if err != nil {
		return err
	}
	switch {
	case b.server != nil:
		b.conn, err = nats.Connect("", append(options, nats.InProcessServer(b.server.Server))...)
	case b.cfg.MayBeAway:
		b.conn, err = dialLater(ctx, b.cfg.URL, options)
	default:
		b.conn, err = dial(ctx, b.cfg.URL, options)
	}
	if err != nil {
		return err
	}
	b.js, err = jetstream.New(b.conn, jetstream.WithPublishAsyncTimeout(10*time.Second))
	return err
}

// checkServer makes sure that the server is one that will do.
func (b *Bus) checkServer(ctx context.Context) error {
	version := b.conn.ConnectedServerVersion()
	b.version.Store(version)
	if err := checkVersion(version); err != nil {
		return err
	}
	return patiently(ctx, b.passing, func() error { return b.checkStore(ctx) })
}

// checkStore makes sure that the server stores messages at all.
func (b *Bus) checkStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := b.js.AccountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return errors.New("JetStream is off on the server of PLUGFN_NATS_URL: start it with -js, or with a jetstream block in its configuration")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return errors.New("JetStream is off for this account on the server of PLUGFN_NATS_URL: enable it for the account of these credentials")
	case err != nil && b.refusal.Load() != nil:
		return b.blame(fmt.Errorf("asking the server for its store: %w", err))
	case err != nil:
		return fmt.Errorf("asking the server of PLUGFN_NATS_URL for its store: %w: a cluster answers once most of its servers run", err)
	}
	return nil
}

// dial connects to a server outside.
func dial(ctx context.Context, servers string, options []nats.Option) (conn *nats.Conn, err error) {
	where, err := publicURL(servers)
	if err != nil {
		return nil, err
	}
	try := func() error {
		conn, err = nats.Connect(servers, append(options, nats.Timeout(dialTime(ctx)))...)
		return err
	}
	err = patiently(ctx, func(err error) bool { return !refused(err) }, try)
	switch {
	case err == nil:
		return conn, nil
	case refused(err):
		return nil, refusedBy(where, err)
	default:
		return nil, fmt.Errorf("connecting to %s: %w: is a NATS server running there? PLUGFN_NATS_URL says where, empty means the embedded one", where, err)
	}
}

func refusedBy(where string, err error) error {
	return fmt.Errorf("connecting to %s: %w: see PLUGFN_NATS_URL and the credentials", where, err)
}

// dialLater connects to a server outside, or returns a connection that will be
// one as soon as the server answers.
func dialLater(ctx context.Context, servers string, options []nats.Option) (*nats.Conn, error) {
	where, err := publicURL(servers)
	if err != nil {
		return nil, err
	}
	options = append(options, nats.Timeout(dialTime(ctx)))
	conn, err := nats.Connect(servers, options...)
	switch {
	case err == nil:
		return conn, nil
	case refused(err):
		return nil, refusedBy(where, err)
	}
	if conn, err = nats.Connect(servers, append(options, nats.RetryOnFailedConnect(true))...); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", where, err)
	}
	return conn, nil
}

// patiently tries until it succeeds, fails for good, or time is over: services
// and their servers are often started together.
func patiently(ctx context.Context, passing func(error) bool, try func() error) error {
	over := time.After(startPatience)
	for {
		err := try()
		if err == nil || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-over:
			return err
		case <-time.After(attemptPause):
		}
	}
}

func dialTime(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return dialTimeout
	}
	return max(min(dialTimeout, time.Until(deadline)), time.Millisecond)
}

// passing reports whether it is worth to wait until err goes away: a cluster is
// forming, or another process is about to declare what is missing. A refused
// permission shows as a time-out and does not go away.
func (b *Bus) passing(err error) bool {
	return b.refusal.Load() == nil && (settling(err) || errors.Is(err, errMissing))
}

// blame adds the refused permission to an error that it has caused.
func (b *Bus) blame(err error) error {
	if refusal := b.refusal.Load(); refusal != nil {
		return fmt.Errorf("%w: the server refused it (%w): are these the key and the permissions of role %s?", err, *refusal, b.cfg.Role)
	}
	return err
}

// settling reports whether err is that of a cluster that is still forming.
func settling(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == codeNoLeader || api.ErrorCode == codeNoPeers
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}

// refused reports whether a server answered and did not want us, or we not it.
func refused(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) ||
		errors.As(err, &cert)
}

func (b *Bus) clientOptions() ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name(b.cfg.Name + "-" + string(b.cfg.Role)),
		nats.CustomInboxPrefix(b.cfg.Role.inbox()),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1),   // what we report as failed must not be sent later
		nats.IgnoreAuthErrorAbort(), // credentials may come back, a closed connection does not
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(3),
		nats.ErrorHandler(b.onError),
		nats.DisconnectErrHandler(b.onDisconnect),
		nats.ReconnectHandler(b.onReconnect),
		nats.ClosedHandler(func(*nats.Conn) { close(b.gone) }),
	}
	if b.cfg.Credentials != "" {
		options = append(options, nats.UserCredentials(b.cfg.Credentials))
	}
	if file := b.cfg.keyFile(); file != "" {
		nkey, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			return nil, fmt.Errorf("reading nkey %s: %w", file, err)
		}
		options = append(options, nkey)
	}
	return options, nil
}

// onError gets what no call returns: a refused permission, a reader that is
// too slow.
func (b *Bus) onError(_ *nats.Conn, sub *nats.Subscription, err error) {
	b.faults.Add(1)
	if errors.Is(err, nats.ErrPermissionViolation) {
		b.refusal.Store(&err)
	}
	e := b.cfg.Log.Error().Err(err)
	if sub != nil {
		e = e.Str("subject", sub.Subject)
	}
	e.Msg("bus fault")
}

func (b *Bus) onDisconnect(_ *nats.Conn, err error) {
	if err != nil {
		b.cfg.Log.Warn().Err(err).Msg("bus disconnected")
	}
}

func (b *Bus) onReconnect(conn *nats.Conn) {
	b.cfg.Log.Info().Str("server", conn.ConnectedUrlRedacted()).Msg("bus reconnected")
}
