package bus

import (
	"fmt"
	"sync"

	"github.com/rs/zerolog"
)

// serverLog hands what the embedded server has to say to zerolog and keeps
// the error for which it gave up: the server itself only logs it.
type serverLog struct {
	log zerolog.Logger

	mu    sync.Mutex
	fatal error
}

func (l *serverLog) say(e *zerolog.Event, format string, args []any) {
	e.Str("said", fmt.Sprintf(format, args...)).Msg("nats-server")
}

// Noticef, Warnf, Errorf, Fatalf, Debugf and Tracef are the interface that the
// server logs to.
func (l *serverLog) Noticef(format string, args ...any) { l.say(l.log.Debug(), format, args) }
func (l *serverLog) Warnf(format string, args ...any)   { l.say(l.log.Warn(), format, args) }
func (l *serverLog) Errorf(format string, args ...any)  { l.say(l.log.Error(), format, args) }
func (l *serverLog) Debugf(string, ...any)              {}
func (l *serverLog) Tracef(string, ...any)              {}

func (l *serverLog) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal != nil {
		return
	}
	l.fatal = fmt.Errorf(format, args...)
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			l.fatal = err
		}
	}
}

func (l *serverLog) gaveUp() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
