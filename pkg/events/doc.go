// Package events is PlugFn's wire contract: what travels on the bus, under
// which subject and in which form.
//
// It holds
//   - the subjects (Token, ActionSubject, EventSubject, …) and the streams that keep them,
//   - the CloudEvents 1.0 codec to and from NATS headers (binary mode; structured mode is read as well),
//   - the action request, the result, the error codes, the connection record,
//   - a Watermill Publisher and Subscriber over JetStream.
//
// Guarantees of the contract:
//   - A subject made here is legal for NATS and at most 255 bytes long, whatever the input.
//   - The user in a subject is the user: a header may complete a shortened
//     token but never contradict it.
//   - A body is never changed by the codec.
//
// Allowed imports: the standard library, nats.go, Watermill, zerolog. Nothing of this module.
package events
