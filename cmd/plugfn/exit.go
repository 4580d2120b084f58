package main

import (
	"fmt"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// exitCode is what the program tells its caller.
type exitCode int

// The exit codes. Scripts rely on them: a number never changes its meaning.
const (
	exitOK           exitCode = 0
	exitFailure      exitCode = 1
	exitUsage        exitCode = 2
	exitNotFound     exitCode = 3
	exitUnauthorized exitCode = 4
	exitConflict     exitCode = 5
	exitProvider     exitCode = 6
	exitRateLimited  exitCode = 7
	exitUnreachable  exitCode = 8
	exitTimeout      exitCode = 9
	exitInterrupted  exitCode = 130
)

type exitMeaning struct {
	code    exitCode
	meaning string
}

// exitMeanings is the table behind `plugfn help exit-codes`.
func exitMeanings() []exitMeaning {
	return []exitMeaning{
		{exitOK, "done"},
		{exitFailure, "failed for a reason without a number of its own"},
		{exitUsage, "wrong usage, settings or parameters"},
		{exitNotFound, "no such provider, action, event, connection or key"},
		{exitUnauthorized, "not authorised: by PlugFn, or the connection by the provider"},
		{exitConflict, "in conflict with what is there; several connections fit"},
		{exitProvider, "the action failed at the provider, or its outcome is unknown"},
		{exitRateLimited, "rate limited"},
		{exitUnreachable, "PlugFn or its NATS server cannot be reached, or is not ready"},
		{exitTimeout, "the time allowed ran out"},
		{exitInterrupted, "interrupted before it was done"},
	}
}

func exitCodesHelp() string {
	var b strings.Builder
	b.WriteString("CODE  MEANING\n")
	for _, row := range exitMeanings() {
		fmt.Fprintf(&b, "%-5d %s\n", int(row.code), row.meaning)
	}
	return b.String()
}

// String returns the meaning of the code.
func (c exitCode) String() string {
	for _, row := range exitMeanings() {
		if row.code == c {
			return row.meaning
		}
	}
	return exitFailure.String()
}

// exitOf is the exit code of an error code.
func exitOf(code events.Code) exitCode {
	switch code {
	case events.CodeInvalidParams:
		return exitUsage
	case events.CodeUnknownProvider, events.CodeUnknownAction, events.CodeConnectionNotFound:
		return exitNotFound
	case events.CodeNeedsReauth, events.CodeScopeRequired:
		return exitUnauthorized
	case events.CodeConnectionAmbiguous, events.CodeCanceled:
		return exitConflict
	case events.CodeProviderRejected, events.CodeProviderUnavailable, events.CodeOutcomeUnknown:
		return exitProvider
	case events.CodeRateLimited:
		return exitRateLimited
	case events.CodeTimeout:
		return exitTimeout
	default:
		return exitFailure
	}
}
