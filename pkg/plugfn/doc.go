// Package plugfn is the Go SDK of PlugFn: what an application imports to act in
// its users' accounts and to hear what happens there.
//
//	client, err := plugfn.Connect("nats://localhost:4222")
//	…
//	result, err := client.Do(ctx, plugfn.Request{
//		User: "u1", Action: "github.issues.create",
//		Params: map[string]any{"owner": "octo", "repo": "hello", "title": "It broke"},
//	})
//
// A [Client] speaks to PlugFn over NATS, and for connections and metrics over
// HTTP as well ([WithAPI]). Whatever it does is the wire contract of package
// events, so that a program in any other language can do the same.
//
// What holds:
//
//   - A request has an id from before it is sent, and is carried out once for that
//     id, however often it is sent. Whoever loses the answer asks again with it.
//   - [Client.Do] returns the one result of its request, also when the connection
//     was lost while it waited. It does not retry: PlugFn does, where it is safe.
//   - Every error of an action is an [*Error]; errors.Is tells its code, as in
//     errors.Is(err, plugfn.ErrNeedsReauth).
//   - A deadline of the context of Do is that of the request: no attempt starts
//     after it.
//   - Data that is too long for a message is fetched where it is, unseen.
//   - The trace of the context travels with requests and comes with events.
//
// Everything is safe for concurrent use. Packages below this one have a method for
// each action of a provider, made from its pack. Package embedded runs a whole PlugFn inside the
// application's own process.
//
// Allowed imports: the standard library, nats.go, nuid, Watermill, zerolog, the
// propagation API of OpenTelemetry, pkg. Nothing that runs a server.
package plugfn
