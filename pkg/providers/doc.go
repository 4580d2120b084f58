// Package providers knows what a provider is: a pack, that is one provider.yaml
// and its fixtures, strictly read, checked and compiled when it is loaded.
//
// A loaded [Pack] answers the questions that the services have:
//   - are these parameters right for the action ([Action.Validate]),
//   - what does the HTTP request look like ([Action.NewRequest]),
//   - what did the response mean ([Action.Read]),
//   - is this delivery genuine ([Webhooks.Verify]), is it a handshake
//     ([Reading.Handshake]), and which event is it ([Reading.Event]).
//
// Packs are data. Templates are paths with a few filters, predicates are expr
// (github.com/expr-lang/expr); nothing in a pack can loop, call out or run on.
// A pack that does not compile is refused with file, line and field.
//
// A Pack and everything that it holds is immutable after loading and safe for
// concurrent use. No function here does I/O but [Load] and
// [LoadAll], and those that read the fixtures of a pack.
//
// Allowed imports: the standard library, third-party libraries, pkg/events.
package providers
