package executor

import (
	"context"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// answered is what is noted of an answer; zero: there was none.
type answered struct {
	status    int
	requestID string // the provider's
}

// maxRequestID is how many bytes of a provider's request id are noted.
const maxRequestID = 100

// report writes the attempt's one log line, and its record. A read that was
// answered from what was kept is no attempt.
func (a *attempt) report(ctx context.Context, got answered, started time.Time, f finding) finding {
	took := a.Now().Sub(started)
	code := events.Code("")
	line := a.Log.Info()
	if f.failure != nil {
		code, got.requestID = f.failure.Code, firstOf(f.failure.RequestID, got.requestID)
		line = a.Log.Warn().Str("code", string(code))
	}
	line.Ctx(ctx).Str("request", a.task.ID).Str("user", a.task.UserID).Str("provider", a.task.Provider).Str("action", a.task.Action).
		Str("connection", a.task.ConnectionID).Int("status", got.status).Str("class", string(f.class)).
		Int64("ms", took.Milliseconds()).Int64("waited", a.entry.Held).Str("provider_request", got.requestID).Msg("action attempted")
	if f.failure == nil && !a.sent.Load() {
		return f
	}
	a.meter.attempted(a.plan.action, f.class, got.status, time.Duration(a.entry.Held)*time.Millisecond)
	a.entry.note(events.Attempt{
		At: started.UTC(), Status: got.status, Class: string(f.class), Code: code, MS: took.Milliseconds(),
		RequestID: got.requestID[:min(len(got.requestID), maxRequestID)],
	})
	return f
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
