package house

import "fmt"

// Kind says whose fault a [Trouble] is.
type Kind int

// The kinds. The zero value stands for all that has no kind of its own.
const (
	KindOther       Kind = iota
	KindSetting          // what was set is wrong
	KindUnreachable      // the bus
)

// Trouble is an error with what a person can do about it.
type Trouble struct {
	Kind  Kind
	What  string // one line
	Cause error  // nil: What says it all
	Fix   string // "": nobody knows
}

// Error returns what and cause.
func (t *Trouble) Error() string {
	if t.Cause == nil {
		return t.What
	}
	return t.What + ": " + t.Cause.Error()
}

// Unwrap returns the cause.
func (t *Trouble) Unwrap() error { return t.Cause }

func wrongSetting(fix, format string, args ...any) *Trouble {
	return &Trouble{Kind: KindSetting, What: fmt.Sprintf(format, args...), Fix: fix}
}
