package providertest

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Problem is what a pack does not do.
type Problem struct {
	At   string // part of the suite, such as actions/tickets-create
	Text string
}

// Outcome is what the suite found.
type Outcome struct {
	Parts    int // that were run: fixtures and triggers
	Problems []Problem
}

// Check runs the suite of [Run] outside of a test.
func Check(ctx context.Context, pack *providers.Pack) Outcome {
	var o Outcome
	r := &recorder{ctx: ctx, outcome: &o}
	r.alone(func() { suite(r, pack) })
	return o
}

// recorder notes what a test would report.
type recorder struct {
	ctx     context.Context //nolint:containedctx // a test has one too
	at      string
	outcome *Outcome
}

// alone runs a part in a goroutine of its own, which Fatal can end, and waits
// for it.
func (r *recorder) alone(part func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		part()
	}()
	<-done
}

// Helper does nothing: no line of the suite is reported.
func (r *recorder) Helper() {}

// Context returns the context of the whole check.
func (r *recorder) Context() context.Context { return r.ctx }

// Error notes a problem.
func (r *recorder) Error(args ...any) { r.note(fmt.Sprintln(args...)) }

// Errorf notes a problem.
func (r *recorder) Errorf(format string, args ...any) { r.note(fmt.Sprintf(format, args...)) }

// Fatal notes a problem and ends the part.
func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

// Fatalf notes a problem and ends the part.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// Run runs a part below this one.
func (r *recorder) Run(name string, part func(T)) {
	below := &recorder{ctx: r.ctx, at: strings.TrimPrefix(r.at+"/"+name, "/"), outcome: r.outcome}
	if r.at != "" {
		r.outcome.Parts++
	}
	r.alone(func() { part(below) })
}

func (r *recorder) note(text string) {
	r.outcome.Problems = append(r.outcome.Problems, Problem{At: r.at, Text: strings.TrimSpace(text)})
}
