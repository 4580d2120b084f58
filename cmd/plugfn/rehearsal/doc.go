// Package rehearsal tries a workflow out without a server: the run goes on as it
// would, its actions are those of a sandbox in this process, and time is skipped
// over.
//
// Events that the run waits for are those that it is given; a wait that none of
// them is for goes on when its time is over. Workflows that it calls are those
// that it is given as well.
//
// Allowed imports: pkg, internal/sandbox, services/scheduler/runs/machine.
package rehearsal
