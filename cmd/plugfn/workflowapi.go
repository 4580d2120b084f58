package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/plugfn/plugfn/services/scheduler/workflows"
)

const pathWorkflows = "/v1/workflows"

// newDefinition brings a definition.
type newDefinition struct {
	UserID string `json:"user_id"`
	workflows.Application
}

// workflowPath is where a workflow of a user is; what comes below its name, and
// query may be nil.
func workflowPath(user, name, below string, query url.Values) string {
	if query == nil {
		query = url.Values{}
	}
	query.Set("user_id", user)
	return pathWorkflows + "/" + url.PathEscape(name) + below + "?" + query.Encode()
}

// versionQuery asks for a version; 0 is the latest.
func versionQuery(version int) url.Values {
	query := url.Values{}
	if version > 0 {
		query.Set("version", strconv.Itoa(version))
	}
	return query
}

func (a *apiClient) applyWorkflow(ctx context.Context, in newDefinition) (w workflows.Applied, err error) {
	return w, a.do(ctx, http.MethodPost, pathWorkflows, in, &w)
}

func (a *apiClient) validateWorkflow(ctx context.Context, in newDefinition) (v workflows.Validation, err error) {
	return v, a.do(ctx, http.MethodPost, pathWorkflows+"/validate", in, &v)
}

func (a *apiClient) diffWorkflow(ctx context.Context, in newDefinition) (c workflows.Comparison, err error) {
	return c, a.do(ctx, http.MethodPost, pathWorkflows+"/diff", in, &c)
}

// compareVersions compares two versions; 0 is the latest.
func (a *apiClient) compareVersions(ctx context.Context, user, name string, from, to int) (c workflows.Comparison, err error) {
	query := url.Values{"from": {strconv.Itoa(from)}}
	if to > 0 {
		query.Set("to", strconv.Itoa(to))
	}
	return c, a.do(ctx, http.MethodGet, workflowPath(user, name, "/diff", query), nil, &c)
}

func (a *apiClient) workflow(ctx context.Context, user, name string, version int) (w workflows.Detail, err error) {
	return w, a.do(ctx, http.MethodGet, workflowPath(user, name, "", versionQuery(version)), nil, &w)
}

func (a *apiClient) workflowVersions(ctx context.Context, user, name string) ([]workflows.Version, error) {
	var answer struct {
		Versions []workflows.Version `json:"versions"`
	}
	err := a.do(ctx, http.MethodGet, workflowPath(user, name, "/versions", nil), nil, &answer)
	return answer.Versions, err
}

func (a *apiClient) workflowStats(ctx context.Context, user, name, since string) (s workflows.Stats, err error) {
	return s, a.do(ctx, http.MethodGet, workflowPath(user, name, "/stats", url.Values{"since": {since}}), nil, &s)
}

func (a *apiClient) exportWorkflow(ctx context.Context, user, name string, version int, form workflows.Form) (e workflows.Export, err error) {
	query := versionQuery(version)
	query.Set("form", string(form))
	return e, a.do(ctx, http.MethodGet, workflowPath(user, name, "/export", query), nil, &e)
}

func (a *apiClient) workflowDo(ctx context.Context, user, name, what string) (w workflows.View, err error) {
	return w, a.do(ctx, http.MethodPost, workflowPath(user, name, "/"+what, nil), nil, &w)
}

func (a *apiClient) deleteWorkflow(ctx context.Context, user, name string) error {
	return a.do(ctx, http.MethodDelete, workflowPath(user, name, "", nil), nil, nil)
}

// workflows returns up to limit workflows, and whether there are more.
func (a *apiClient) workflows(ctx context.Context, query url.Values, limit int) (all []workflows.View, more bool, err error) {
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all), maxPage)))
		var page struct {
			Workflows  []workflows.View `json:"workflows"`
			NextCursor string           `json:"next_cursor"`
		}
		if err := a.do(ctx, http.MethodGet, pathWorkflows+"?"+query.Encode(), nil, &page); err != nil {
			return nil, false, err
		}
		all = append(all, page.Workflows...)
		if page.NextCursor == "" || len(all) >= limit {
			return all, page.NextCursor != "", nil
		}
		query.Set("cursor", page.NextCursor)
	}
}
