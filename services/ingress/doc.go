// Package ingress turns webhook deliveries into events.
//
// Routes:
//
//	POST /webhooks/{provider}              one app's deliveries, for all of its connections
//	POST /webhooks/{provider}/{endpoint}   the deliveries for one connection, with secrets of its own
//
// Subjects:
//
//	plugfn.event.<user>.<provider>.<event>   published: one event per connection of the delivery's
//	                                         account; user "_" when no connection matches;
//	                                         at the endpoint of a connection one, for that
//	plugfn.dead.event.>                      published: genuine deliveries that cannot be read
//	plugfn.payload.<user>.>                  published: data that is too long for a message
//	$KV.PLUGFN_DELIVERIES.>                  published and read: where events are whose providers send
//	                                         again after the stream has forgotten their ids (see repeats)
//	plugfn.svc.ingress.rejected              answered by every ingress: the deliveries it refused last
//
// What a sender is told:
//
//	200  the event is stored: by the bus (or was, and this is a repetition), or
//	     by the spool on this machine's disk while the bus is away
//	401  the signature is missing, wrong or stale, or there is no such endpoint, or
//	     it is paused; no more is said
//	404  no such provider
//	405  a method that the pack does not take: deliveries are POST, handshakes may be GET or HEAD
//	413  the body is larger than the pack allows
//	415  a content type or encoding that the pack does not read
//	429  with Retry-After: more deliveries than one endpoint may send
//	503  with Retry-After: too much work in hand, nothing stores, or it is
//	     not known yet whether there is a secret or a key that the signature is of
//
// 2xx is never said before the bus or the spool has acknowledged. A genuine body that cannot
// be read is kept as a dead letter and answered 200, since sending it again
// would not help. On the path there is no I/O but the publish, and fetching keys that are not kept (see [Keys]): packs and secrets
// are in memory, also those that are stored (see [Secrets]), and the index of
// accounts is fed by a watch.
//
// A repetition, told by endpoint and delivery id, is answered like the first and
// stored no second time: within 15 minutes by the stream, later by where its
// first event is, if the pack says that its provider repeats for longer. One with
// another body is stored as an event of its own, with ce-conflict.
//
// When an account gets a connection, its events of the last hour that came for
// nobody are published to it too, once however many ingresses there are (see
// [Rerouter]).
//
// Allowed imports: pkg, internal; never another service.
package ingress
