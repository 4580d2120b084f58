package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	problemType = "application/problem+json"
	maxFaults   = 10 // in one answer
)

// problem is the body of every answer that is an error (RFC 9457). It holds
// nothing that the caller sent but names.
type problem struct {
	Title     string      `json:"title" doc:"The status in words."`
	Status    int         `json:"status" doc:"The HTTP status."`
	Detail    string      `json:"detail" doc:"What is wrong, and the fix."`
	Code      events.Code `json:"code,omitempty" doc:"Why, as in results on the bus. Absent where no operation was reached."`
	RequestID string      `json:"request_id,omitempty" doc:"Under which the log has the cause."`
	Faults    []fault     `json:"errors,omitempty" doc:"What is wrong with the request, one by one."`
}

// fault is one thing that is wrong with a request.
type fault struct {
	Location string `json:"location,omitempty" doc:"Where, such as body.token or query.limit."`
	Message  string `json:"message" doc:"What."`
}

// Error returns the detail.
func (p *problem) Error() string { return p.Detail }

// GetStatus is how huma asks for the HTTP status.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is how huma asks for the type of the body.
func (p *problem) ContentType(string) string { return problemType }

// problem tells the caller what an operation failed with. Trouble of our own
// goes to the log, and the caller gets its number.
func (s *Service) problem(ctx context.Context, err error) *problem {
	var known *problem
	if errors.As(err, &known) {
		return known
	}
	var e *events.Error
	if errors.As(err, &e) {
		return newProblem(e.Code.Meaning().Status, e.Code, e.Message)
	}
	p := newProblem(http.StatusInternalServerError, events.CodeInternal, "PlugFn failed; try again, the log has the cause under the request_id")
	p.RequestID = id.New("req")
	event := s.log.Error()
	if ctx.Err() != nil {
		event = s.log.Debug() // the client went away
	}
	event.Err(err).Str("request", p.RequestID).Msg("http request failed")
	return p
}

func newProblem(status int, code events.Code, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

// asProblem turns huma's own errors into problems. Theirs quote the value that
// is wrong, which may be a token or the whole body.
func asProblem(_ huma.Context, _ string, body any) (any, error) {
	model, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	switch model.Status {
	case http.StatusBadRequest:
		return newProblem(model.Status, events.CodeInvalidParams, "the body must be a JSON object"), nil
	case http.StatusRequestTimeout:
		return newProblem(model.Status, events.CodeInvalidParams, "the body took too long to arrive"), nil
	case http.StatusRequestEntityTooLarge:
		return newProblem(model.Status, events.CodeInvalidParams, "the body is longer than 64 KiB"), nil
	case http.StatusUnsupportedMediaType:
		return newProblem(model.Status, events.CodeInvalidParams, "the body must be JSON: Content-Type: application/json"), nil
	case http.StatusUnprocessableEntity:
		return invalidRequest(model.Errors), nil
	default:
		return newProblem(model.Status, events.CodeInternal, "the request could not be read"), nil
	}
}

func invalidRequest(details []*huma.ErrorDetail) *problem {
	p := newProblem(http.StatusUnprocessableEntity, events.CodeInvalidParams, "")
	var lines []string
	for _, detail := range details[:min(len(details), maxFaults)] {
		f := fault{Location: clip(detail.Location), Message: detail.Message}
		if strings.HasPrefix(f.Message, "json:") { // the decoder's, which quotes
			f.Message = "is not of the expected form"
		}
		p.Faults = append(p.Faults, f)
		lines = append(lines, f.line())
	}
	p.Detail = strings.Join(lines, "; ")
	return p
}

// line names the field as the caller wrote it.
func (f fault) line() string {
	_, field, ok := strings.Cut(f.Location, ".")
	if !ok {
		return f.Message
	}
	return field + ": " + f.Message
}

func writeProblem(w http.ResponseWriter, p *problem) {
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went away
}
