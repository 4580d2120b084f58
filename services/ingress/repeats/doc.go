// Package repeats remembers deliveries for longer than the stream of events does:
// for as long as their provider may send them again.
//
// It remembers where in the stream an event is, and no more. Whether a delivery is
// a repetition is settled by the event that is there: one that is not there, or
// that is of another delivery, makes none. So what is remembered wrongly, or not
// at all because the process ended in between, makes an event come twice at most,
// and never keeps one from being stored. It is remembered after the event is
// stored, and nobody waits for it.
//
// Subjects:
//
//	$KV.PLUGFN_DELIVERIES.<id>   published and read: the sequence of the event, for
//	                             the time that the pack says
//
// Allowed imports: pkg, internal.
package repeats
