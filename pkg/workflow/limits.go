package workflow

import "time"

// The limits of a definition.
const (
	MaxDefinition       = 256 << 10 // bytes
	MaxSteps            = 200       // in a definition, those of on_error among them
	MaxNesting          = 8         // levels of steps in steps
	MaxBranches         = 20        // of one parallel, and cases of one branch
	MaxItems            = 10_000    // of one foreach, when it runs
	MaxForeachLimit     = 50        // items of one foreach at the same time
	DefaultForeachLimit = 5
	MaxForeachNesting   = 2
	MaxExpression       = 2_000 // bytes
	maxExpressionNodes  = 300
	maxEvents           = 20 // names in one trigger or wait_for
	maxVars             = 100
	maxText             = 1_000 // bytes of a description or the name of a step
	maxConcurrency      = 1_000
	maxPages            = 1_000
	maxAttempts         = 20

	DefaultTimeout = 30 * day
	MaxTimeout     = 365 * day
	maxAction      = time.Hour
)
