package executor

import (
	"context"
	"errors"

	"github.com/plugfn/plugfn/pkg/events"
)

// isRefused reports whether the provider has refused the credential of a
// connection: it answered that it did nothing for whoever shows this one.
func (a *attempt) isRefused(f *finding) bool {
	return f.class == classReauth && a.sent.Load() && a.credential.ConnectionID != ""
}

// renewed asks for a newer credential and tries once more with it. Without one,
// the finding of before stands, or says that it may be there later.
func (a *attempt) renewed(ctx context.Context, refused finding) finding {
	newer, err := a.Credentials.Refused(ctx, a.task.UserID, a.task.Provider, a.credential)
	if err == nil {
		if newer.Version <= a.credential.Version {
			return refused
		}
		s, err := a.worker.slot(ctx, asker{a.task, a.entry, a.plan.action, newer})
		if err != nil {
			return a.later(ctx, refused, err)
		}
		again := attempt{worker: a.worker, task: a.task, plan: a.plan, credential: newer, entry: a.entry, slot: s}
		a.Log.Info().Str("request", a.task.ID).Str("connection", newer.ConnectionID).Int("version", newer.Version).Msg("credential renewed, trying once more")
		f := again.run(ctx)
		f.sent += refused.sent
		return f
	}
	if failure := final(err); failure != nil {
		refused.failure.Code, refused.failure.Retryable, refused.failure.Message = failure.Code, failure.Retryable, failure.Message
		refused.class = classOf(refused.failure, true, false)
		return refused
	}
	a.Log.Warn().Err(err).Str("request", a.task.ID).Str("connection", a.credential.ConnectionID).Msg("refused credential not renewed")
	refused.class = classNothing
	refused.failure.Code, refused.failure.Retryable = events.CodeProviderUnavailable, true
	refused.failure.Message = a.task.Provider + " refuses the credential, and a newer one cannot be had now; nothing was done: try again later"
	return refused
}

// later is a finding whose second try has no slot yet: the provider did nothing,
// and the newer credential is at hand when the request comes again.
func (a *attempt) later(ctx context.Context, refused finding, err error) finding {
	a.dropPermit(ctx, a.entry)
	var waits *pause
	refused.class = classNothing
	if errors.As(err, &waits) {
		refused.class, refused.retryAfter = classPaused, max(waits.until.Sub(a.Now()), sharedNap)
	}
	refused.failure.Code, refused.failure.Retryable = events.CodeRateLimited, true
	refused.failure.Message = a.task.Provider + " refused a credential that has been renewed, and its limits leave no room for another try yet"
	return refused
}
