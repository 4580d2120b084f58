package runs

import (
	"context"
	"errors"

	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// ErrNoWorkflow is why there is no program: the user has no workflow of that
// name, or the version is not kept any more. Any other error of [Definitions],
// but [workflow.Problems], may pass.
var ErrNoWorkflow = errors.New("there is no such workflow, or not in this version")

// Workflow is a version of a workflow of a user.
type Workflow struct {
	Name    string
	Version int  // from 1
	Enabled bool // it may be started
	Program *workflow.Program
}

// Definitions are the workflows of users. They are asked from many goroutines,
// and with each signal: answers come out of memory.
type Definitions interface {
	// Program returns a version of a workflow; 0 stands for the one of today. The
	// version of a run that has not ended must be there for as long as that goes
	// on, whatever becomes of the workflow. ErrNoWorkflow where there is none,
	// [workflow.Problems] where it does not fit the providers any more.
	Program(ctx context.Context, user, name string, version int) (Workflow, error)

	// OnEvent returns the enabled workflows of a user, each as of today, whose
	// trigger is an event of that provider and name (see [workflow.Names.Match]).
	// Connection and filter are not looked at. What was applied before the call is
	// in the answer: an implementation that follows a bucket asks for its last
	// sequence and waits until it has seen that. Calls that come while one asks may
	// share the next answer.
	OnEvent(ctx context.Context, user, provider, event string) ([]Workflow, error)

	// OnRun returns the enabled workflows of a user, each as of today, whose trigger
	// is the end of a run of that workflow, in that state (completed, failed or
	// canceled). What was applied before the call is in the answer.
	OnRun(ctx context.Context, user, name string, ended machine.Status) ([]Workflow, error)
}
