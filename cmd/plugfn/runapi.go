package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs"
)

const pathRuns = "/v1/runs"

// newRun asks for a run.
type newRun struct {
	UserID string `json:"user_id"`
	runs.Order
}

func pathOfRun(id string) string { return pathRuns + "/" + url.PathEscape(id) }

func (a *apiClient) startRun(ctx context.Context, in newRun) (r runs.View, err error) {
	return r, a.do(ctx, http.MethodPost, pathRuns, in, &r)
}

// run returns a run, once it has ended or after a while.
func (a *apiClient) run(ctx context.Context, id string, wait time.Duration) (r runs.Detail, err error) {
	path := pathOfRun(id)
	if seconds := int(wait / time.Second); seconds > 0 {
		path += "?wait=" + strconv.Itoa(seconds)
	}
	return r, a.do(ctx, http.MethodGet, path, nil, &r)
}

// runDo does something with a run; in may be nil.
func (a *apiClient) runDo(ctx context.Context, id, what string, in any) (r runs.View, err error) {
	return r, a.do(ctx, http.MethodPost, pathOfRun(id)+"/"+what, in, &r)
}

func (a *apiClient) runLogs(ctx context.Context, id string) ([]events.RunChange, error) {
	var answer struct {
		Transitions []events.RunChange `json:"transitions"`
	}
	err := a.do(ctx, http.MethodGet, pathOfRun(id)+"/logs", nil, &answer)
	return answer.Transitions, err
}

// runs returns up to limit runs, and whether there are more.
func (a *apiClient) runs(ctx context.Context, query url.Values, limit int) (all []runs.View, more bool, err error) {
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all), maxPage)))
		var page struct {
			Runs       []runs.View `json:"runs"`
			NextCursor string      `json:"next_cursor"`
		}
		if err := a.do(ctx, http.MethodGet, pathRuns+"?"+query.Encode(), nil, &page); err != nil {
			return nil, false, err
		}
		all = append(all, page.Runs...)
		if page.NextCursor == "" || len(all) >= limit {
			return all, page.NextCursor != "", nil
		}
		query.Set("cursor", page.NextCursor)
	}
}
