// Package sandbox plays the part of every provider whose pack it is given, so
// that actions can be tried without accounts: by people with `plugfn dev`, by
// tests and by benchmarks. It knows no provider: packs and their fixtures say
// all of it.
//
//	<method> /<provider>/<path of the API>   an action, see below
//	<method> /<provider>/<path of auth>      the authorization server, see further below
//	GET      /<provider>/_device/<auth>      where the code of another device is entered
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
// The addresses in the auth blocks of a pack, with their hosts replaced by
// [BaseURL], are those of an authorization server. It asks on a page whether to
// allow, or decides at once with approve=1 or approve=0 in the query; grant,
// once for each scope, grants less than was asked for. Clients may have any id
// and any secret, but show them as the pack says, with PKCE unless the pack
// forbids it. A refresh token is for one use, a second use ends all that came of
// its consent, and a token that has ended or was revoked is refused. All tokens
// are for one account: that of the pack's example deliveries.
//
// Allowed imports: the standard library, zerolog, pkg/providers, pkg/events.
package sandbox
