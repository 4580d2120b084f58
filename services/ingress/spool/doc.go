// Package spool keeps events on the disk of this machine while the bus is away,
// and forwards them once it is back.
//
// Events with the same order key are forwarded in the order in which they were
// kept: while one of them is here, the next ones have to come here too (see
// [Spool.Takes]). An event leaves the spool once the bus has acknowledged it. It
// is forwarded with the Nats-Msg-Id that it had, so one that the bus has already
// is not stored twice.
//
// Subjects, on the spool's own server only:
//
//	plugfn.spool.<hash of the order key>
//
// Allowed imports: pkg, internal.
package spool
