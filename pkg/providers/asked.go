package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// Asked is what a request asks of an action: its parameters, read once and found
// right. It is safe for concurrent use.
type Asked struct {
	action *Action
	params map[string]any // is not changed
}

// Ask reads params. Its error is that of [Action.Validate].
func (a *Action) Ask(params json.RawMessage) (*Asked, error) {
	object, err := parseParams(params)
	if err != nil {
		return nil, err
	}
	if problems := a.Params.problems(object); len(problems) > 0 {
		return nil, invalid(strings.Join(problems, "; "))
	}
	if problem := a.fileProblem(object); problem != "" {
		return nil, invalid(problem)
	}
	return &Asked{a, object}, nil
}

// NewRequest is [Action.NewRequest] for what was asked.
func (r *Asked) NewRequest(ctx context.Context, base string, cred Credential) (*http.Request, error) {
	return r.action.newRequest(ctx, base, r.params, cred)
}

// NewWrite is [Action.NewWrite] for what was asked.
func (r *Asked) NewWrite(ctx context.Context, base string, cred Credential, mark Mark) (*http.Request, error) {
	return r.action.newWrite(ctx, base, r.params, cred, mark)
}
