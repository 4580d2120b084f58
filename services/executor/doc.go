// Package executor consumes action requests and publishes one result for each.
//
// Subjects:
//
//	plugfn.action.>   consumed: requests, from the stream PLUGFN_ACTIONS
//	plugfn.call.>     served: stores the request and has the result sent to the caller's inbox
//	plugfn.result.>   published: exactly one result per user and request id
//	plugfn.later.>    published: requests whose time has not come (Plugfn-Not-Before)
//	plugfn.dead.>     published: requests whose id was used before with another content
//
// Order of work on a request: read it, look whether its id has a result or a
// claim, validate the parameters, get a credential, claim the id in the journal
// (writes), call the provider, publish the result, acknowledge the request.
//
// What follows from that order: a redelivered or repeated request gets the
// result of its first execution, because the stream of results takes one for
// each id; and a write that may have reached the provider is never sent again,
// it ends as "unknown".
//
// Allowed imports: pkg, internal; never another service.
package executor
