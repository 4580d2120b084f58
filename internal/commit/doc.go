// Package commit stores messages in a stream so that those which wait for the
// disk at the same time share one write.
//
// A stream that syncs every write to its disk takes a millisecond or so for each
// message, one after the other. An atomic batch is synced once, however many
// messages it has, but costs some ten times as much as one message. So a few
// messages are stored singly; once as many wait as a batch is worth, all that
// wait go into one. With nothing under way a message is stored at once. Only after
// a small batch do those that wait give the senders it has answered a moment to
// be back, since one batch of 64 costs little more than one of 12.
//
// A batch is refused whole when it holds one message that the stream has already,
// or that is not the next one of the subject that it names. Its messages are then
// stored singly.
//
// Allowed imports: nats.go. Nothing of this module.
package commit
