// Package bus is where PlugFn meets NATS: it embeds a server or connects to
// one, declares the streams and buckets of the wire contract, parks messages
// until they are due, and says whether the bus is well.
//
// # What an acknowledged message means
//
// A publish that returned an acknowledgement is kept until its age: seven days
// for actions, results, events and runs, thirty for dead letters, ninety for the
// audit, for ever for what is parked; or until the time that it says itself.
// What it survives until then is the durability mode:
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
// # Who may do what
//
// Unless Config.Secure is set, the embedded server asks nobody who he is:
// whoever reaches its address may do anything on it. It listens on this machine
// only, unless told otherwise, and Access and the log say so.
//
// With Config.Secure, and on a server outside that has its configuration from
// ServerConfig, everybody shows an nkey:
//
//   - A role may use the subjects that its service uses and no others; roles.go
//     is the table. Only the executor asks for credentials, only auth answers,
//     and the replies to a role, which travel below _PLUGFN_INBOX. and its name,
//     are heard by that role alone. The admin may do what operators do, but
//     none of this.
//   - An application acts and listens for one user, or for everyone, and for
//     nobody else. It has a NATS account of its own: what it has the server send
//     as a reply, wherever it says, reaches no other account.
//   - A key that was removed is cut off before RemoveUser returns.
//
// What roles are not: a fence against a service that was taken over. It can
// still have the server write where the service itself may not, as a reply or
// by a consumer, and so destroy data; it cannot read credentials.
//
// What accounts do not part: the room in the streams, and the message ids that
// a stream drops repetitions by. A user who guesses the Nats-Msg-Id of another's
// request can have it dropped; Plugfn-Id is the user's own.
//
// Allowed imports: the standard library, other libraries, pkg and internal.
package bus
