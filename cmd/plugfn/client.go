package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

// client is what an application would use, on a connection of ours. Whoever calls
// it closes its connection. Showing a result fetches its data, however long, unless
// opts say otherwise.
func (t *target) client(opts ...plugfn.Option) (*plugfn.Client, error) {
	conn, err := t.connect()
	if err != nil {
		return nil, err
	}
	client, err := plugfn.New(conn, append([]plugfn.Option{plugfn.WithMaxData(-1)}, opts...)...)
	if err != nil {
		conn.Close()
	}
	return client, err
}

func requestOf(r *events.ActionRequest) plugfn.Request {
	return plugfn.Request{
		ID: r.ID, User: r.UserID, Action: r.Provider + "." + r.Action, Params: r.Params, Connection: r.ConnectionID,
		Timeout: r.Timeout, Deadline: r.Deadline, NotBefore: r.NotBefore, MaxAttempts: r.MaxAttempts,
		Delivery: r.Delivery, Cache: r.Cache, MaxPages: r.MaxPages,
	}
}

// call has a request carried out and waits for its result, as long as it can be
// expected to take.
func call(ctx context.Context, client *plugfn.Client, request *events.ActionRequest) (*events.Result, error) {
	patience := usualWait
	if request.Timeout > 0 {
		patience = request.Timeout + extraWait
	}
	patience += max(0, time.Until(request.NotBefore))
	if !request.Deadline.IsZero() {
		patience = max(patience, time.Until(request.Deadline)+extraWait)
	}
	waiting, stop := impatient(ctx, patience)
	defer stop()
	result, err := client.Do(waiting, requestOf(request))
	return resultOr(ctx, &result, err, &failure{
		exit: exitTimeout, what: fmt.Sprintf("no result of %s within %s; it is still wanted and may come", request.ID, patience.Round(time.Second)),
		fix: fmt.Sprintf("plugfn action result %s --user %s", request.ID, request.UserID),
	})
}

// impatient ends after a while, which is no deadline of the request.
func impatient(ctx context.Context, patience time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(patience, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

// resultOr is the result, however the action ended, or why there is none: late is
// the failure of one that has not come.
func resultOr(ctx context.Context, r *events.Result, err error, late *failure) (*events.Result, error) {
	switch {
	case r.Outcome != "":
		return r, nil // showing it tells what was wrong
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, plugfn.ErrPending):
		return nil, late
	default:
		return nil, err
	}
}
