// Package bus is where PlugFn meets NATS: it embeds a server or connects to
// one, declares the streams and buckets of the wire contract, parks messages
// until they are due, and says whether the bus is well.
//
// # What an acknowledged message means
//
// A publish that returned an acknowledgement is kept until its age: seven days
// for actions, results, events and runs, thirty for dead letters, for ever for
// what is parked. What it survives until then is the durability mode:
//
//	dev     one copy, on disk within two minutes. A killed process loses
//	        nothing; a power cut or a crash of the machine loses what the
//	        system had not written yet.
//	single  one copy, synced to disk before the acknowledgement. A power cut
//	        loses nothing; the loss of the disk loses all.
//	ha      three copies. The loss of a server or its disk loses nothing; a
//	        power cut of two at once may lose the last two minutes.
//	strict  three copies, synced. A power cut of all servers loses nothing.
//
// In dev and single PlugFn sets how the embedded server writes. How a server
// outside writes is that server's own setting and cannot be seen from here:
// single and strict mean there what they say only where it runs with
// sync_interval: always.
//
// # What else holds
//
//   - A stream or bucket that has reached Config.MaxBytes refuses what is new
//     and keeps what it has; Park does the same with ErrFull. No message that
//     was acknowledged is dropped to make room.
//   - A publish without an acknowledgement may have been stored or not. The
//     same message id within fifteen minutes makes a second try harmless.
//   - While the server is away a publish fails at once; nothing is sent later
//     behind the caller's back.
//   - Delivery is at least once and in the order of storing, but for what is
//     delivered again.
//   - A parked message never fires early, survives every process, and reaches
//     only a subject of its own kind and user.
//   - Declare never deletes a message.
//   - A data directory belongs to one process at a time; the lock ends with
//     the process, however that ends.
//
// The replies to this process travel below _PLUGFN_INBOX. and its name. On a
// server with permissions the user of a PlugFn process needs to subscribe
// there; nobody else should.
//
// The embedded server asks nobody who he is: whoever reaches its address may
// do anything on it. It listens on this machine only, unless told otherwise.
//
// Allowed imports: the standard library, other libraries, pkg and internal.
package bus
