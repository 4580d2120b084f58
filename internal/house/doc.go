// Package house puts the services together: some or all of them in one process,
// on one bus, behind one HTTP handler.
//
// It is what `plugfn serve`, `plugfn dev` and a PlugFn embedded in another
// program have in common. [Open] reads the packs and opens the bus, [Process.Register]
// joins the packs with the operator's apps, [Process.Assemble] builds the
// services, [House.Run] runs them. Nothing here reads the environment; whatever
// can be chosen is in [Config].
//
// What holds:
//
//   - A service is reached only over the bus, also by its neighbours in the same
//     process, and each has a connection of its own with the permissions of its
//     role.
//   - It stops in order: readiness, HTTP, the services, the bus.
//   - What a person can do about an error is in it, see [Trouble].
//
// Allowed imports: everything but cmd and pkg/embedded. Only these two import it.
package house
