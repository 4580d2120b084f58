// Package limiter keeps calls to providers within their limits, for all
// processes together: rates, calls at once, and pauses after a refusal.
//
// # Use
//
// A call has two stages, so that whoever has a backlog waits in his own queue
// and keeps nothing of what is shared.
//
//	bounds, err := action.Limits(params, providers.LimitsOn{Connection: …, Account: …})
//	b := limiter.Bounds{Provider: …, App: …, Limits: bounds, Hold: timeout + 30*time.Second, Overrides: …}
//
//	// Stage 1, once for each request: a slot of the connection's own rates, and
//	// a place in its queue for each rate that others share. Delay is until its
//	// turn, which is nobody else's: park the request until then if that is more
//	// than a second away, and the permit with it (it is JSON). Wait means that the
//	// deadline would pass: rate_limited.
//	own, err := l.Reserve(ctx, b.Own(), deadline)
//
//	// Stage 2, when the slot has come. Granted: go, after Delay. Wait: come again
//	// after Delay and a little jitter; nothing was taken, and it is no attempt.
//	call := b.Shared()
//	call.Horizon = 250 * time.Millisecond
//	shared, err := l.Acquire(ctx, call)
//
//	// After the response, in one trip.
//	permit, err := limiter.Join(own.Permit, shared.Permit)
//	found := action.Observe(bounds, providers.Response{…})
//	err = l.Release(ctx, permit, limiter.ReportOf(found))
//
// A request that is given up before it was sent cancels its permits. One that
// was sent and has no response releases them with an empty report. A permit that
// Join refuses (one was granted while Redis was away) is released by itself.
// Never is a permanent error: the cost is above the burst. All of a call is taken
// or nothing, each stage in one round trip, so an action costs three.
//
// # Guarantees
//
//   - In no window of length T more than burst + rate·T goes through a limit,
//     also with reservations, refunds and calls that wait for another limit. (A
//     queue, [Limit.Queue], is no limit.) What
//     a call costs above what it asked for (Used) comes on top.
//   - What a response says only ever lowers what is left, less what is in flight.
//     It grows back when the provider's window ends.
//   - A place of a concurrency limit is free again after its TTL at the latest.
//   - Without Redis, nothing is unlimited: see below. Acquire and Release take
//     100 ms at most.
//   - After a FLUSHALL buckets are full and gates that this process has closed
//     stay closed; the next response corrects the rest. Slots far ahead that this
//     process was granted are not granted again, neither then nor by the local
//     store nor when Redis comes back: but for one or two in each process, and
//     for those of a process that has ended.
//   - Times are the store's own. A clock that is set back, as by a failover,
//     neither blocks nor frees anything.
//
// # Stores
//
// [Memory] keeps the state in this process: for a single executor. [Redis] keeps
// it for all, by a script: those calls of one scope that come while another is
// under way go together, up to 64 in one run, and each is decided as if it had
// come alone. The keys of a call have a hash tag in common,
// so that a Redis cluster has them on one node; keys have bounded lengths and
// expire. While Redis does not answer, each process keeps to 0.8 of a limit
// divided by the number of processes, with buckets that begin empty; [Status]
// says so. Three failures in a row open a breaker, for a second at a time.
//
// # Subjects
//
//	plugfn.svc.limiter.presence   published and consumed: heartbeats, from which the processes are counted
//	plugfn.svc.limiter.state      served: how the limits of a provider stand
//
// The bucket PLUGFN_LIMITS holds the operator's overrides.
//
// Allowed imports: pkg, internal.
package limiter
