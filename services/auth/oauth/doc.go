// Package oauth speaks to the providers' authorization servers: it builds the
// URL that a user is sent to, exchanges codes, refreshes and mints tokens, runs
// the device flow, revokes grants, and asks whose account a credential is for.
// What is special about a provider stands in the auth block of its pack.
//
// It is the wire only. It keeps nothing: states, tokens and the decision who may
// refresh when belong to the caller.
//
// Guarantees:
//   - A token that a provider gave is not lost to an odd answer: numbers in any
//     spelling, JSON and forms under any content type, missing members.
//     An answer that says success and cannot be read is kept whole, as
//     [Failure].Body: the old refresh token may be spent.
//   - No error holds a secret or a part of an answer but the provider's error
//     code, and that only if it looks like one.
//   - No redirect is followed: it would carry the secrets to another host.
//   - A request is sent once. What was not provably kept from leaving is marked
//     as [Failure].Sent.
//   - Each request ends within [Config].Timeout, each answer at 1 MiB.
//
// Every error of a request is a *[Failure]; its class says what to do next.
//
// Allowed imports: pkg/providers, pkg/events, internal/outbound, golang.org/x/oauth2 (URLs and PKCE
// only: its exchange does none of the above).
package oauth
