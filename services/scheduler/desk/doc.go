// Package desk answers requests on the bus about what belongs to users: their
// schedules, workflows and runs.
//
// Subjects: those below the one that a desk is opened for, as
//
//	plugfn.svc.scheduler.<things>.<user>.<verb>[.<id>]
//
// Whose things a request is about is in its subject, so that the broker decides
// who may ask. The answer is JSON; one that is an error is {"error": …} with a
// problem as the HTTP API has it. The requests answered at once are bounded.
//
// Allowed imports: pkg, internal.
package desk
