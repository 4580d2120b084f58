// Package polls looks for what providers do not push, and publishes what is new
// as events.
//
// Subjects:
//
//	plugfn.run._.poll.due                          consumed: that it is time to look, from a schedule
//	plugfn.action.<user>.<provider>.<action>       published: to list
//	plugfn.result.<user>.<provider>.*.<id>         subscribed: what there is
//	plugfn.event.<user>.<provider>.<event>         published: each item that is new
//
// A pack says how (triggers, poll). A schedule whose target is a trigger has ticks
// that are looks; their request bears the tick's id, so that a look that is
// repeated asks the provider once. What is known already is a [Look] in a bucket,
// changed by compare-and-swap, written after the events are stored. A look that
// breaks off before is repeated: its events bear the same ids, and within the
// window of their stream they are stored once.
//
// Of several schedulers any may look; a look goes to one of them.
//
// Allowed imports: pkg, internal, services/scheduler/ask; never another service.
package polls
