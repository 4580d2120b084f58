// Package executor consumes action requests and publishes one result for each.
//
// Subjects:
//
//	plugfn.action.>                 consumed: requests, from the stream PLUGFN_ACTIONS
//	plugfn.connection.>             consumed: changes of connections, from the stream PLUGFN_EVENTS
//	plugfn.call.>                   served: stores the request and has the result sent to the caller's inbox
//	plugfn.svc.executor.cancel.>    served: takes back a request that was not sent yet
//	plugfn.svc.executor.resolve.>   served: notes what a person found out about an unknown outcome
//	plugfn.result.>                 published: exactly one result per user and request id; resolutions beside it
//	plugfn.later.>                  published: requests that wait: for their time, the next attempt, a connection
//	plugfn.dead.>                   published: requests that were given up, or whose id was used before with another content
//
// A request is taken up in turn, see places.go: who has least in hand goes first,
// and what somebody waits for before the rest. A user with a backlog gets a lane of
// his own, see lane.go, so that nobody waits behind it.
//
// Order of work on a request, see settle:
//
//	newTask      read it
//	known        look whether its id has a result or a journal entry, and go on from there
//	plan         validate it; no I/O
//	held         wait for its time; end it after its limit
//	turns        where the action has an order: wait until what came before has its result
//	credential   find the connection and its credential
//	look         where an attempt may have been carried out: look at the provider, instead of an attempt
//	try          slot:    do its limits let the call pass? See slot.go
//	             admit:   may the provider be asked now? (breaker, retry budget)
//	             claim:   note the write as sent, before its first byte
//	             attempt: call the provider, and once more with a newer credential after a 401
//	follow       have decide, a pure function, say what is next, and do it: conclude, wait, look, park, give up
//
// and then acknowledge it.
//
// What follows from that order: a redelivered or repeated request gets the
// result of its first execution, because the stream of results takes one for
// each id; and a write that may have reached the provider is sent again only as
// its effect allows, see package providers.
//
// Each call has a slot: each page of a list, each look, and the second try with
// a newer credential take one of their own. A read gets its slot when it turns
// out that no kept answer counts and nobody else is asking the same. One that is
// far ahead is kept in the journal, and the request comes again when it is due.
//
// Nothing sleeps here for more than a second or so: what has to wait is noted in the journal, handed to the
// schedules of the bus under its id, and acknowledged. Whoever gets it when it
// is due goes on from the journal.
//
// Allowed imports: pkg, internal; never another service.
package executor
