package house

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// listen opens the address that HTTP is served at.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &Trouble{
			What: "another program listens at " + addr + " already",
			Fix:  "stop it, or choose another address with --http-addr (127.0.0.1:0 takes any free port)",
		}
	default:
		return nil, &Trouble{What: "cannot listen at " + addr, Cause: err, Fix: "choose another address with --http-addr"}
	}
}

func newServer(handler http.Handler, logger zerolog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.New(serverLog{logger}, "", 0),
	}
}

// serverLog takes what net/http says about broken clients.
type serverLog struct{ log zerolog.Logger }

func (l serverLog) Write(p []byte) (int, error) {
	l.log.Debug().Str("said", string(p)).Msg("http")
	return len(p), nil
}

// serveHTTP serves until ctx ends, then lets the requests in hand finish, but no
// longer than patience.
func serveHTTP(ctx context.Context, server *http.Server, l net.Listener, patience time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := server.Shutdown(stopping)
	if err != nil {
		err = fmt.Errorf("serving HTTP: requests were cut off after %s: %w", patience, errors.Join(err, server.Close()))
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
