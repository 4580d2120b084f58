package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/plugfn/plugfn/internal/house"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

// failure is an error that knows its exit code and what a person can do.
type failure struct {
	exit      exitCode
	what      string // one line
	cause     error  // nil: what says it all
	code      events.Code
	status    int    // of HTTP, PlugFn's or the provider's; 0: none
	requestID string // PlugFn's or the provider's
	provider  string // how the provider answered
	fix       string // "": nobody knows
	places    []place
}

// Error returns what and cause.
func (f *failure) Error() string {
	if f.cause == nil {
		return f.what
	}
	return f.what + ": " + f.cause.Error()
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

// usage is a failure of whoever typed the command.
func usage(fix, format string, args ...any) *failure {
	return &failure{exit: exitUsage, what: fmt.Sprintf(format, args...), fix: fix}
}

// failureOf returns the failure in err, or makes one of it.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var t *house.Trouble
	if errors.As(err, &t) {
		exit := map[house.Kind]exitCode{house.KindSetting: exitUsage, house.KindUnreachable: exitUnreachable, house.KindOther: exitFailure}[t.Kind]
		return &failure{exit: exit, what: t.What, cause: t.Cause, fix: t.Fix}
	}
	var s *plugfn.Error
	switch {
	case errors.As(err, &s):
		return failed(&events.Error{
			Code: s.Code, Message: s.Message, Status: s.Status, ProviderCode: s.ProviderCode, RequestID: s.RequestID, Retryable: s.Retryable,
		})
	case errors.Is(err, plugfn.ErrNobody):
		return noExecutor()
	case errors.Is(err, plugfn.ErrUnavailable):
		return &failure{exit: exitUnreachable, what: "PlugFn cannot be reached on the bus", cause: err, fix: startFix}
	}
	var e *events.Error
	if errors.As(err, &e) {
		return failed(e)
	}
	return &failure{exit: exitFailure, what: err.Error()}
}

// failed is the failure of an action.
func failed(e *events.Error) *failure {
	f := &failure{
		exit: exitOf(e.Code), what: safe(e.Message), code: e.Code,
		status: e.Code.Meaning().Status, requestID: e.RequestID, fix: fixOf(e.Code),
	}
	var said []string
	if e.Status != 0 {
		f.status = e.Status
		said = append(said, fmt.Sprintf("status %d", e.Status))
	}
	if e.ProviderCode != "" {
		said = append(said, "code "+safe(e.ProviderCode))
	}
	if e.RequestID != "" {
		said = append(said, "request-id "+safe(e.RequestID))
	}
	f.provider = strings.Join(said, ", ")
	return f
}

// fixOf is what the table of codes says that the caller can do.
func fixOf(code events.Code) string { return strings.TrimPrefix(code.Meaning().Fix, "see: ") }

// report writes err for a person, or as one line of JSON.
func report(w io.Writer, err error, asJSON bool) {
	f := failureOf(err)
	if asJSON {
		_ = json.NewEncoder(w).Encode(f.problem()) // there is nobody left to tell
		return
	}
	what := f.what
	if f.code != "" {
		what += " (" + string(f.code) + ")"
	}
	red, faint := lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Red), lipgloss.NewStyle().Faint(true)
	fmt.Fprintln(w, red.Render("error:"), indent(what))
	if f.cause != nil {
		fmt.Fprintln(w, faint.Render("cause:"), indent(f.cause.Error()))
	}
	for _, p := range f.places {
		fmt.Fprintln(w, p)
	}
	if f.provider != "" {
		fmt.Fprintln(w, faint.Render("provider:"), f.provider)
	}
	if f.fix != "" {
		fmt.Fprintln(w, faint.Render("fix:"), f.fix)
	}
}

// indent keeps the further lines of a text together with its first.
func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n       ") }

// problem is a failure in the form of RFC 9457, as the HTTP API answers.
type problem struct {
	Title     string      `json:"title"`
	Status    int         `json:"status,omitempty"`
	Detail    string      `json:"detail"`
	Code      events.Code `json:"code,omitempty"`
	RequestID string      `json:"request_id,omitempty"`
	Provider  string      `json:"provider,omitempty"`
	Fix       string      `json:"fix,omitempty"`
	Errors    []place     `json:"errors,omitempty"`
	ExitCode  exitCode    `json:"exit_code"`
}

func (f *failure) problem() problem {
	title := f.exit.String()
	if f.code != "" {
		title = f.code.Meaning().Meaning
	}
	return problem{
		Title: title, Status: f.status, Detail: f.Error(), Code: f.code, RequestID: f.requestID,
		Provider: f.provider, Fix: f.fix, Errors: f.places, ExitCode: f.exit,
	}
}

// wantsJSON reports whether the command line asks for JSON. It looks at the
// words, because an error may be that they could not be parsed.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch {
		case arg == "--":
			return false
		case arg == "--json", arg == "-ojson", arg == "-o=json", arg == "--output=json",
			arg == "-ojsonl", arg == "-o=jsonl", arg == "--output=jsonl":
			return true
		case (arg == "-o" || arg == "--output") && i+1 < len(args) && strings.HasPrefix(args[i+1], "json"):
			return true
		}
	}
	return false
}
