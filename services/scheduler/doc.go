// Package scheduler brings delayed work to its target when its time has come.
//
// Subjects:
//
//	plugfn.due.>      consumed: firings of the schedules that the bus holds (stream PLUGFN_LATER)
//	plugfn.action.>   published: the requests that were due
//	plugfn.connection.*.*.due   published: the jobs of the auth service that were due
//	plugfn.dead.>     published: firings without a legal target
//
// The server fires; this package only moves. Several schedulers may run: a
// firing is moved with a deduplication id made of its schedule and its sequence,
// so that a crash between moving and acknowledging moves it once.
//
// What it schedules itself is in its folder heal.
//
// Allowed imports: pkg, internal; never another service.
package scheduler
