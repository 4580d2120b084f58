package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// ProblemType is the media type of a problem.
	ProblemType = "application/problem+json"
	// MaxFaults is how many faults one answer names.
	MaxFaults = 10
)

// Problem is the body of every answer that is an error (RFC 9457). It holds
// nothing that the caller sent but names.
type Problem struct {
	Title     string      `json:"title" doc:"The status in words."`
	Status    int         `json:"status" doc:"The HTTP status."`
	Detail    string      `json:"detail" doc:"What is wrong, and the fix."`
	Code      events.Code `json:"code,omitempty" doc:"Why, as in results on the bus. Absent where no operation was reached."`
	RequestID string      `json:"request_id,omitempty" doc:"Under which the log has the cause."`
	Faults    []Fault     `json:"errors,omitempty" doc:"What is wrong with the request, one by one."`
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	Location string `json:"location,omitempty" doc:"Where, such as body.token or query.limit."`
	Message  string `json:"message" doc:"What."`
	Line     int    `json:"line,omitempty" doc:"Of a text that was sent, from 1."`
	Column   int    `json:"column,omitempty" doc:"The same, in characters, from 1."`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is how huma asks for the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is how huma asks for the type of the body.
func (p *Problem) ContentType(string) string { return ProblemType }

// Explain tells the caller what an operation failed with. Trouble of our own
// goes to the log, and the caller gets its number.
func Explain(ctx context.Context, log zerolog.Logger, err error) *Problem {
	var known *Problem
	if errors.As(err, &known) {
		return known
	}
	var e *events.Error
	if errors.As(err, &e) {
		return New(e.Code.Meaning().Status, e.Code, e.Message)
	}
	p := New(http.StatusInternalServerError, events.CodeInternal, "PlugFn failed; try again, the log has the cause under the request_id")
	p.RequestID = id.New("req")
	event := log.Error()
	if ctx.Err() != nil {
		event = log.Debug() // the client went away
	}
	event.Err(err).Str("request", p.RequestID).Msg("http request failed")
	return p
}

// New makes a problem of a status and, where an operation was reached, a code.
func New(status int, code events.Code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
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
		return New(model.Status, events.CodeInvalidParams, "the body must be a JSON object"), nil
	case http.StatusRequestTimeout:
		return New(model.Status, events.CodeInvalidParams, "the body took too long to arrive"), nil
	case http.StatusRequestEntityTooLarge:
		return New(model.Status, events.CodeInvalidParams, "the body is longer than this operation takes: 64 KiB where it does not say otherwise"), nil
	case http.StatusUnsupportedMediaType:
		return New(model.Status, events.CodeInvalidParams, "the body must be JSON: Content-Type: application/json"), nil
	case http.StatusUnprocessableEntity:
		return invalidRequest(model.Errors), nil
	default:
		return New(model.Status, events.CodeInternal, "the request could not be read"), nil
	}
}

func invalidRequest(details []*huma.ErrorDetail) *Problem {
	p := New(http.StatusUnprocessableEntity, events.CodeInvalidParams, "")
	var lines []string
	for _, detail := range details[:min(len(details), MaxFaults)] {
		f := Fault{Location: Clip(detail.Location), Message: detail.Message}
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
func (f Fault) line() string {
	_, field, ok := strings.Cut(f.Location, ".")
	if !ok {
		return f.Message
	}
	return field + ": " + f.Message
}

// Write answers with p, whose title may be left out.
func (p *Problem) Write(w http.ResponseWriter) {
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	w.Header().Set("Content-Type", ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went away
}

// Clip shows what a caller sent, within bounds.
func Clip(s string) string {
	const limit = 60
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}
