package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/plugfn/plugfn/services/scheduler/schedules"
)

const pathSchedules = "/v1/schedules"

// newSchedule asks for a schedule.
type newSchedule struct {
	UserID string `json:"user_id"`
	schedules.Plan
}

func pathOfSchedule(id string) string { return pathSchedules + "/" + url.PathEscape(id) }

func (a *apiClient) createSchedule(ctx context.Context, in newSchedule) (s schedules.View, err error) {
	return s, a.do(ctx, http.MethodPost, pathSchedules, in, &s)
}

func (a *apiClient) schedule(ctx context.Context, id string) (s schedules.View, err error) {
	return s, a.do(ctx, http.MethodGet, pathOfSchedule(id), nil, &s)
}

func (a *apiClient) editSchedule(ctx context.Context, id string, change schedules.Amendment) (s schedules.View, err error) {
	return s, a.do(ctx, http.MethodPatch, pathOfSchedule(id), change, &s)
}

func (a *apiClient) scheduleDo(ctx context.Context, id, what string) (s schedules.View, err error) {
	return s, a.do(ctx, http.MethodPost, pathOfSchedule(id)+"/"+what, nil, &s)
}

func (a *apiClient) deleteSchedule(ctx context.Context, id string) error {
	return a.do(ctx, http.MethodDelete, pathOfSchedule(id), nil, nil)
}

// nextOf returns the next n ticks of a schedule.
func (a *apiClient) nextOf(ctx context.Context, id string, n int) ([]schedules.Ahead, error) {
	var answer struct {
		Ticks []schedules.Ahead `json:"ticks"`
	}
	err := a.do(ctx, http.MethodGet, pathOfSchedule(id)+"/next?n="+strconv.Itoa(n), nil, &answer)
	return answer.Ticks, err
}

// schedules returns up to limit schedules, and whether there are more.
func (a *apiClient) schedules(ctx context.Context, query url.Values, limit int) (all []schedules.View, more bool, err error) {
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all), maxPage)))
		var page struct {
			Schedules  []schedules.View `json:"schedules"`
			NextCursor string           `json:"next_cursor"`
		}
		if err := a.do(ctx, http.MethodGet, pathSchedules+"?"+query.Encode(), nil, &page); err != nil {
			return nil, false, err
		}
		all = append(all, page.Schedules...)
		if page.NextCursor == "" || len(all) >= limit {
			return all, page.NextCursor != "", nil
		}
		query.Set("cursor", page.NextCursor)
	}
}
