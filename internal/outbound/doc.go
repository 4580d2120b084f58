// Package outbound makes the HTTP clients with which PlugFn calls the outside:
// the providers' APIs, their authorization servers, their public keys.
//
// There are two classes of hosts, each with a pool of connections of its own:
//
//   - Trusted: the origins that the operator set himself ([Config].Trusted). They
//     may be anywhere, on this computer as well.
//   - Guarded: all others, whether a pack names them, an answer or a user. They
//     are reached by https and at public addresses only. What counts is the
//     address that the name stands for when it is dialled, so a name that turns
//     to another one after a first look gains nothing.
//
// Guarantees:
//   - What is refused is an *events.Error that says what to do, and no byte was
//     sent for it.
//   - No request but GET and HEAD is sent a second time: no redirect of one is
//     followed, and net/http does not repeat one that bears an idempotency key.
//   - A redirect is followed to the same scheme, host and port, at most three
//     times. Any other one is the answer.
//   - A body ends at [Config].MaxBody bytes, counted after decompression, and at
//     the request's deadline, however slowly it comes.
//   - No proxy of the environment is used: a guard would see its address only.
//
// Allowed imports: pkg/events, code.dny.dev/ssrf.
package outbound
