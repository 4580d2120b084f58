package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestEveryErrorCodeHasAnExitCode(t *testing.T) {
	want := map[events.Code]exitCode{
		events.CodeInvalidParams: 2, events.CodeUnknownProvider: 3, events.CodeUnknownAction: 3, events.CodeConnectionNotFound: 3,
		events.CodeNeedsReauth: 4, events.CodeScopeRequired: 4, events.CodeConnectionAmbiguous: 5, events.CodeCanceled: 5,
		events.CodeProviderRejected: 6, events.CodeProviderUnavailable: 6, events.CodeOutcomeUnknown: 6,
		events.CodeRateLimited: 7, events.CodeTimeout: 9, events.CodeInternal: 1,
	}
	for _, row := range events.Codes() {
		code, ok := want[row.Code]
		if !ok || exitOf(row.Code) != code {
			t.Errorf("%s exits with %d, want %d", row.Code, exitOf(row.Code), code)
		}
	}
}

func TestReport(t *testing.T) {
	rejected := failed(&events.Error{Code: events.CodeProviderRejected, Message: "Validation Failed", Status: 422, ProviderCode: "custom", RequestID: "8C31"})
	tests := []struct {
		name, text, json string
		err              error
	}{
		{
			"plain", "error: it broke\n",
			`{"title":"failed for a reason without a number of its own","detail":"it broke","exit_code":1}` + "\n",
			errors.New("it broke"),
		},
		{
			"failure, wrapped and with a cause of two lines", "error: no bus\ncause: a\n       b\nfix: plugfn dev\n",
			`{"title":"PlugFn or its NATS server cannot be reached, or is not ready","detail":"no bus: a\nb","fix":"plugfn dev","exit_code":8}` + "\n",
			fmt.Errorf("wrapped: %w", &failure{exit: exitUnreachable, what: "no bus", cause: errors.New("a\nb"), fix: "plugfn dev"}),
		},
		{
			"of a provider", "error: Validation Failed (provider_rejected)\nprovider: status 422, code custom, request-id 8C31\nfix: see the provider's message\n",
			`{"title":"the provider refused the request","status":422,"detail":"Validation Failed","code":"provider_rejected","request_id":"8C31","provider":"status 422, code custom, request-id 8C31","fix":"see the provider's message","exit_code":6}` + "\n",
			rejected,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var text, problem bytes.Buffer
			report(&colorprofile.Writer{Forward: &text, Profile: colorprofile.NoTTY}, tt.err, false)
			report(&problem, tt.err, true)
			if diff := cmp.Diff(tt.text, text.String()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.json, problem.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWantsJSON(t *testing.T) {
	for line, want := range map[string]bool{
		"action run x --json": true, "x -o json": true, "x -ojsonl": true, "x --output=json": true, "x --output jsonl": true,
		"x": false, "x -o yaml": false, "x -o": false, "x -- --json": false, "x --output=yaml": false,
	} {
		if got := wantsJSON(strings.Fields(line)); got != want {
			t.Errorf("%q: got %v", line, got)
		}
	}
}

func TestRefusalReadsProblems(t *testing.T) {
	tests := []struct {
		status int
		body   string
		exit   exitCode
		want   string
	}{
		{404, `{"title":"Not Found","status":404,"detail":"there is no such connection","code":"connection_not_found"}`, exitNotFound, "there is no such connection"},
		{401, `{"title":"Unauthorized","status":401,"detail":"the API key is missing or wrong"}`, exitUnauthorized, "the API key"},
		{502, `<html>`, exitUnreachable, "answered 502 Bad Gateway"},
		{422, `{"title":"x","detail":"y","code":"invalid_params"}`, exitUsage, "y"},
		{500, `{"title":"x","detail":"y","code":"internal"}`, exitFailure, "y"},
	}
	for _, tt := range tests {
		f := failureOf(refusal(tt.status, []byte(tt.body)))
		if f.exit != tt.exit || !strings.Contains(f.what, tt.want) || f.fix == "" {
			t.Errorf("%d %s: got %+v", tt.status, tt.body, f)
		}
	}
}

func TestOutputIsSafeForTerminals(t *testing.T) {
	hostile := "a\x1b]0;title\x07b\u009bc\r\nd"
	line := feedLine("now", hostile, hostile, clip(hostile, 10))
	if strings.ContainsAny(line, "\x1b\x07\r\n") || strings.ContainsRune(line, '\u009b') {
		t.Errorf("got %q", line)
	}
}

func TestAlignCountsWhatIsSeen(t *testing.T) {
	got := align([][]string{{"NAME", "STATUS", "X"}, {"日本", done("ok"), "1"}, {"long-name", "", ""}})
	var plain bytes.Buffer
	_, _ = io.WriteString(&colorprofile.Writer{Forward: &plain, Profile: colorprofile.NoTTY}, got)
	want := "NAME       STATUS  X\n日本       ✓ ok    1\nlong-name\n"
	if diff := cmp.Diff(want, plain.String()); diff != "" {
		t.Error(diff)
	}
}
