// Package scheduler brings delayed work to its target when its time has come.
//
// Subjects:
//
//	plugfn.due.>      consumed: firings of the schedules that the bus holds (stream PLUGFN_LATER)
//	plugfn.action.>   published: the requests that were due
//	plugfn.connection.*.*.due   published: the jobs of the auth service that were due
//	plugfn.dead.>     published: firings without a legal target
//	plugfn.due.schedule.*   among the consumed: schedules that wake, for the folder schedules
//
// The server fires; this package only moves. Several schedulers may run: a
// firing is moved with a deduplication id made of its schedule and its sequence,
// so that a crash between moving and acknowledging moves it once.
//
// Schedules of users are in its folder schedules, what their rules mean in rule;
// what PlugFn schedules itself is in heal.
//
// Allowed imports: pkg, internal; never another service.
package scheduler
