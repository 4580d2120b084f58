// Package workflow is the language of workflows: when X happens, do Y, then Z
// tomorrow.
//
//	d, err := workflow.Parse(text)                  // what it says, in YAML or JSON
//	p, err := workflow.Compile(d, workflow.Options{ // what it means
//		Providers: registry, Schedule: check,
//	})
//
// What holds:
//
//   - [Parse] judges the form and [Compile] the meaning; each reports all problems
//     at once as [Problems], with line, column, path and, of an unknown name, the
//     one that was most likely meant.
//   - Expressions (package expression) are checked against the schemas of the
//     trigger and of the actions. A field that a schema does not list is taken to
//     be misspelt; event.raw is the same value as event.data, without the check.
//     The result of an action has no schema.
//   - What a definition means does not depend on which of two things that go on at
//     the same time is faster, but for parallel with join: any.
//   - [Definition.JSON] and [Definition.YAML] are canonical: [Parse] makes the same
//     of both.
//   - A [Program] has no state, no clock and does no I/O. services/scheduler runs
//     it.
//
// Values are written as they are and may hold ${{ expression }} in their texts: a
// text that is one ${{ }} becomes the result, of whichever type; in a longer text
// the result is put in as [expression.Text] writes it. Conditions, lists and
// times (if, filter, when, match, in, until) are expressions, with or without
// ${{ }} around all of it.
//
// Allowed imports: the standard library, yaml, expr, pkg/providers.
package workflow
