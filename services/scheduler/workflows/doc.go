// Package workflows keeps the workflows of users, and knows which of them an
// event, a tick or the end of a run starts.
//
// Subjects:
//
//	plugfn.svc.scheduler.workflows.<user>.<verb>[.<name>]   served: apply, validate, get, list, versions, enable, disable, delete, diff, export, stats
//	plugfn.run.<user>.<workflow>.<state>.<run>              read, for the stats
//
// Routes, behind the API key: /v1/workflows and below.
//
// What holds:
//
//   - A version is a text that was compiled before it was stored, and never changes.
//     The record of its workflow is what makes it count: it is changed by
//     compare-and-swap, after the text is there. Nothing is applied by halves.
//   - A version stays for as long as a run of it may go on, also when its workflow
//     was deleted or has had many versions since. A workflow that is made anew under
//     an old name goes on counting: a version never means two things.
//   - Who asks what an event starts has everything in the answer that was applied
//     before: the records are kept in memory, and whoever asks waits until what was
//     stored before is among them.
//
// Several schedulers may run.
//
// Allowed imports: pkg, internal, and of services/scheduler rule, desk, runs,
// schedules and upkeep; never another service.
package workflows
