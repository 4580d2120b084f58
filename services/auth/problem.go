package auth

import (
	"context"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
)

// problem is the body of every answer that is an error.
type problem = api.Problem

// problem tells the caller what an operation failed with.
func (s *Service) problem(ctx context.Context, err error) *problem {
	return api.Explain(ctx, s.log, err)
}

func newProblem(status int, code events.Code, detail string) *problem {
	return api.New(status, code, detail)
}
