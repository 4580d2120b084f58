// Package sandbox plays the part of every provider whose pack it is given, so
// that actions can be tried without accounts: by people with `plugfn dev`, by
// tests and by benchmarks. It knows no provider: packs and their fixtures say
// all of it.
//
//	<method> /<provider>/<path of the API>   an action, see below
//	GET      /_calls                         the last calls as JSON, oldest first
//
// A request for an action is answered like this:
//   - its method and path name the action; none: 404
//   - it bears a credential where the pack puts one, any will do; none: 401
//   - its parameters, read back from path, query, headers and body, are right
//     for the action's schema; not: 400 or 422 with the field and the rule
//   - the answer is that of a fixture of a success, the one whose parameters are
//     most like the caller's. Where it repeats a parameter of the fixture, it
//     repeats the caller's instead.
//
// The 401 and the 404 are the pack's own where it has a fixture of one. What
// the sandbox says itself is JSON with the member message.
//
// Nothing is changed by a call: what was created is not there to be read.
//
// Allowed imports: the standard library, zerolog, pkg/providers, pkg/events.
package sandbox
