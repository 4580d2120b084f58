package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/internal/tally"
	"github.com/plugfn/plugfn/pkg/events"
)

const pathMetrics = "/v1/metrics"

const (
	// maxCounts is how many counts go on at once; each reads the headers of all
	// results in its range.
	maxCounts = 2
	// countTimeout ends a count before the server ends the answer.
	countTimeout = 20 * time.Second
)

// registerMetrics adds the operation that counts how actions ended.
func (s *Service) registerMetrics(api huma.API) {
	register(api, huma.Operation{
		OperationID: "get-metrics", Method: http.MethodGet, Path: pathMetrics,
		Summary: "Count how actions ended, and how long they took",
	}, s.metrics)
}

type metricsInput struct {
	Range    string   `query:"range" doc:"How far back, such as 90m, 24h or 7d, which is as long as results are kept." default:"24h"`
	GroupBy  tally.By `query:"group_by" doc:"One group for each." enum:"provider,action,user" default:"provider"`
	UserID   string   `query:"user_id" doc:"Only this user's."`
	Provider string   `query:"provider" doc:"Only this provider's."`
}

type metricsOutput struct {
	Body struct {
		Since   time.Time     `json:"since" doc:"When the first of the results was stored, or later."`
		GroupBy tally.By      `json:"group_by"`
		All     tally.Group   `json:"all" doc:"Everything together; its group is empty."`
		Groups  []tally.Group `json:"groups" nullable:"false" doc:"The largest first. Beyond 10,000 the rest is one: (others)."`
	}
}

func (s *Service) metrics(ctx context.Context, in *metricsInput) (*metricsOutput, error) {
	within, err := tally.ParseRange(in.Range)
	if err != nil {
		return nil, s.problem(ctx, invalid("range", "%v", err))
	}
	select {
	case s.counts <- struct{}{}:
		defer func() { <-s.counts }()
	default:
		return nil, s.problem(ctx, events.Errorf(events.CodeRateLimited, "%d counts are under way; try again when they have ended", maxCounts))
	}
	counting, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	since := time.Now().Add(-within)
	counted, err := tally.Count(counting, s.store.js, tally.Query{Since: since, By: in.GroupBy, User: in.UserID, Provider: in.Provider})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = events.Errorf(events.CodeTimeout, "range: there are more results than can be counted in %s; take a shorter one, or one user or provider", countTimeout)
	}
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	out := &metricsOutput{}
	out.Body.Since, out.Body.GroupBy, out.Body.All, out.Body.Groups = since.UTC(), in.GroupBy, counted.All, counted.Groups
	return out, nil
}
