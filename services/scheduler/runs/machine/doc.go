// Package machine is how a run of a workflow goes on: a pure function from a
// state and a signal to the next state and what has to be done for it.
//
//	s := machine.New(program, machine.Start{Run: id, …})
//	next, effects, err := machine.Advance(program, s, signal, now, payloads)
//
// What holds:
//
//   - There is no clock, no chance and no I/O. The same state, signal and time
//     give the same.
//   - A signal is for one wait, by its ID, which no other wait of the run ever has.
//     One that nothing waits for (any more) changes nothing: applied twice it is
//     applied once, and one that comes too late is harmless.
//   - Every [Effect] may be done again: it has an ID to tell repetitions by.
//     [Pending] gives once more those of a state: what it waits for, and what the
//     last transition has to tell.
//   - A [State] is plain JSON and bounded: values longer than [MaxInline] are in it
//     by reference. [Keep] effects store them.
//   - How a run ends does not depend on the order of signals, but for parallel with
//     join: any, for foreach after an item has failed, and for what comes from
//     outside.
//
// What whoever drives it has to do, so that a crash at any point repeats and
// loses nothing:
//
//  1. Load the record, Advance. On [MissingPayloads] get those and Advance again.
//  2. Do the Keep effects. Write the next state by compare-and-swap; when somebody
//     else was faster begin anew.
//  3. Do the other effects, then acknowledge the signal. Before another signal
//     advances a state whose effects may not all be done (it was written by a process
//     that has gone), do those of Pending.
//
// A signal that changed nothing may be one whose effects were cut off by a crash:
// do those of Pending then too.
//
// Allowed imports: the standard library, pkg/workflow, pkg/providers/expression.
package machine
