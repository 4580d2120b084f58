// Package runs has workflows run: what starts a run, what goes on with it, and
// what it asks for.
//
// Subjects:
//
//	plugfn.event.<user>.…                         consumed: events that start runs, and that runs wait for
//	plugfn.result.<user>.…                        consumed: results of the actions of runs
//	plugfn.run.<user>.<workflow>.signal           published and consumed: what else happens to a run
//	plugfn.later.run.<user>.<id>                  published: delays, held and fired by the bus as such signals
//	plugfn.action.<user>.…                        published: actions of runs
//	plugfn.run.<user>.<workflow>.<state>.<run>    published: the history, one message for each transition
//	plugfn.dead.run.<user>.<workflow>.<why>       published: what did not start, and runs that cannot go on
//	plugfn.svc.scheduler.runs.<user>.<verb>[.<id>]   served: start, list, get, logs, wait, cancel, retry, replay
//
// Routes, behind the API key: /v1/runs and below.
//
// A run is a record in a bucket, changed by compare-and-swap; how it goes on is
// decided by the folder machine, a pure function. What happens to a run is a
// signal, and each signal is a message that is acknowledged last: record read,
// state advanced, record written, effects done. Wherever this breaks off, the
// signal comes again and finds a state that it has advanced already. Then what
// that state asks for is done once more; each of its effects has an id by which
// doing it twice is the same as once.
//
// Before a process advances a record that it has not written itself, it does
// the effects of that record first: whoever wrote it may have ended before he
// did.
//
// An event is matched with the waits of runs only once all waits that were
// stored before it are known, and whoever stores a wait looks at the events that
// have come meanwhile. So one of the two sees the other.
//
// Several schedulers may run.
//
// Allowed imports: pkg, internal, services/scheduler/runs/machine; never another
// service.
package runs
