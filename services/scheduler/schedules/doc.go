// Package schedules keeps the schedules of users and has their ticks reach
// their targets, each once.
//
// Subjects:
//
//	plugfn.svc.scheduler.schedules.<user>.<verb>[.<id>]   served: create, list, get, next, amend, delete, pause, resume, run
//	plugfn.later.schedule.<user>.<id>                     published: when a schedule wakes next, held and fired by the bus
//	plugfn.action.<user>.…                                published: ticks that ask for an action
//	plugfn.event.<user>.schedule.<name>                   published: ticks that are events
//	plugfn.run.<user>.<workflow>.signal                   published: ticks that start a run
//
// Routes, behind the API key: /v1/schedules and below.
//
// A schedule is a record in a bucket, changed by compare-and-swap. It is carried
// on by a chain of messages that the bus holds back: each time it wakes, what is
// due is published, the next message is parked, the record is written, and only
// then is the message acknowledged that woke it. Wherever this breaks off, it is
// done again and comes to the same: a tick is named by its schedule and its time,
// and what bears its name already is not published again.
//
// Several schedulers may run. A message of the chain that does not fit the record
// (the schedule was changed, or another scheduler was faster) only parks again
// what the record says. A schedule whose chain is lost, because a process ended
// between the record and the message, is found by a look at all of them, after
// the start and every few minutes.
//
// Allowed imports: pkg, internal, services/scheduler/rule, desk, runs and upkeep; never another service.
package schedules
