package executor

import (
	"context"
	"errors"

	"github.com/plugfn/plugfn/pkg/events"
)

// isRefused reports whether the provider has refused the credential of a
// connection: it answered that it did nothing for whoever shows this one.
func (a *attempt) isRefused(r *events.Result) bool {
	return r.Outcome == events.Failed && r.Error.Code == events.CodeNeedsReauth && a.sent.Load() && a.credential.ConnectionID != ""
}

// renewed asks for a newer credential and tries once more with it. Without one,
// the result of before stands, or says that it may be there later.
func (a *attempt) renewed(ctx context.Context, refused *events.Result) *events.Result {
	newer, err := a.Credentials.Refused(ctx, a.task.UserID, a.task.Provider, a.credential)
	switch {
	case err == nil && newer.Version > a.credential.Version:
		again := attempt{worker: a.worker, task: a.task, plan: a.plan, credential: newer}
		a.Log.Info().Str("request", a.task.ID).Str("connection", newer.ConnectionID).Int("version", newer.Version).Msg("credential renewed, trying once more")
		result := again.run(ctx)
		result.Attempts++ // the one that was refused
		return result
	case err == nil:
		return refused
	}
	var final *events.Error
	if errors.As(err, &final) && final.Code != events.CodeInternal {
		refused.Error.Code, refused.Error.Retryable, refused.Error.Message = final.Code, final.Retryable, final.Message
		return refused
	}
	a.Log.Warn().Err(err).Str("request", a.task.ID).Str("connection", a.credential.ConnectionID).Msg("refused credential not renewed")
	refused.Error.Code, refused.Error.Retryable = events.CodeProviderUnavailable, true
	refused.Error.Message = a.task.Provider + " refuses the credential, and a newer one cannot be had now; nothing was done: try again later"
	return refused
}
