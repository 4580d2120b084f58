package workflows

import (
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// index knows in memory what starts which workflow. It is fed with the records
// of a bucket.
type index struct {
	log zerolog.Logger

	mu      sync.RWMutex
	filed   map[string]*filed              // :: key of the record → where it is filed
	byEvent map[string]map[string][]*filed // :: user → provider → those that wait for its events
	byRun   map[string]map[string][]*filed // :: user → workflow → those that wait for its runs
	counts  map[string]int                 // :: user → workflows
}

// filed is a workflow that is known.
type filed struct {
	user, name string
	version    int
	status     Status
	trigger    Trigger
}

func newIndex(log zerolog.Logger) *index {
	return &index{
		log: log, filed: map[string]*filed{}, byEvent: map[string]map[string][]*filed{}, byRun: map[string]map[string][]*filed{}, counts: map[string]int{},
	}
}

// see takes a record, or that it is gone. One that cannot be read starts nothing.
func (x *index) see(key string, value []byte) {
	var f *filed
	if value != nil {
		r, err := decode(key, value)
		if err != nil {
			x.log.Error().Err(err).Msg("workflow unreadable")
		} else if r.Status != deleted {
			f = &filed{r.UserID, r.Name, r.Version, r.Status, r.Trigger}
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drop(key)
	if f == nil {
		return
	}
	x.filed[key] = f
	x.counts[f.user]++
	if f.status != Enabled {
		return
	}
	switch f.trigger.Kind {
	case "event":
		file(x.byEvent, f.user, f.trigger.Provider, f)
	case "run":
		file(x.byRun, f.user, f.trigger.Workflow, f)
	}
}

func (x *index) drop(key string) {
	f := x.filed[key]
	if f == nil {
		return
	}
	delete(x.filed, key)
	if x.counts[f.user]--; x.counts[f.user] == 0 {
		delete(x.counts, f.user)
	}
	unfile(x.byEvent, f.user, f.trigger.Provider, f)
	unfile(x.byRun, f.user, f.trigger.Workflow, f)
}

func file(in map[string]map[string][]*filed, user, by string, f *filed) {
	if in[user] == nil {
		in[user] = map[string][]*filed{}
	}
	in[user][by] = append(slices.Clip(in[user][by]), f)
}

func unfile(in map[string]map[string][]*filed, user, by string, f *filed) {
	list := in[user][by]
	i := slices.Index(list, f)
	if i < 0 {
		return
	}
	if list = slices.Concat(list[:i], list[i+1:]); len(list) > 0 {
		in[user][by] = list
		return
	}
	if delete(in[user], by); len(in[user]) == 0 {
		delete(in, user)
	}
}

// known is what the record of a workflow said last; nil: there is none.
func (x *index) known(user, name string) *filed {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.filed[keyOf(user, name)]
}

func (x *index) count(user string) int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.counts[user]
}

// onEvent lists the enabled workflows that an event starts, by name.
func (x *index) onEvent(user, provider, event string) []*filed {
	x.mu.RLock()
	list := x.byEvent[user][provider]
	x.mu.RUnlock()
	return chosen(list, func(f *filed) bool { return workflow.Names(f.trigger.Events).Match(event) })
}

// onRun lists the enabled workflows that the end of a run starts, by name.
func (x *index) onRun(user, name, state string) []*filed {
	x.mu.RLock()
	list := x.byRun[user][name]
	x.mu.RUnlock()
	return chosen(list, func(f *filed) bool { return slices.Contains(f.trigger.States, state) })
}

// chosen picks from a list that is never changed, only replaced.
func chosen(list []*filed, want func(*filed) bool) []*filed {
	var all []*filed
	for _, f := range list {
		if want(f) {
			all = append(all, f)
		}
	}
	return all
}
