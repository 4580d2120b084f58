package workflows

import (
	"errors"
	"time"

	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/rule"
)

// CheckSchedule says what is wrong with the schedule of a trigger, for
// [workflow.Options]: as the scheduler would.
func CheckSchedule(t workflow.Schedule) (field, problem string) {
	r, err := rule.Parse(rule.Spec{Cron: t.Cron, Zone: t.Zone, Every: time.Duration(t.Every)})
	if err == nil {
		err = r.CheckFrom(time.Now())
	}
	var f *rule.Fault
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &f):
		return f.Field, f.Message
	default:
		return "", err.Error()
	}
}
