package machine

import (
	"cmp"
	"slices"
)

// Shrink moves the longest values of a state out of it, until about most bytes
// are left in it. It returns the state, or a copy that is shorter, and what has to
// be kept for that. Many values that are each short enough can be too long for one
// record together.
func Shrink(s *State, most int) (*State, []Effect) {
	size := 0
	for _, v := range s.clone().values() {
		size += len(v.get().JSON)
	}
	if size <= most {
		return s, nil
	}
	told := s.Told
	s = s.clone()
	s.Told = told
	w := &walker{kept: Payloads{}}
	places := s.values()
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(len(b.get().JSON), len(a.get().JSON)) })
	for _, v := range places {
		old := v.get()
		if size <= most || len(old.JSON) <= maxItem {
			break
		}
		size -= len(old.JSON)
		v.set(Value{Ref: w.store(old.JSON)})
	}
	return s, w.effects
}

// place is where a value is in a state.
type place struct {
	get func() Value
	set func(Value)
}

// values are those of a state that may be long, in an order that does not
// change.
func (s *State) values() []place {
	var all []place
	at := func(v *Value) {
		if v != nil {
			all = append(all, place{func() Value { return *v }, func(n Value) { *v = n }})
		}
	}
	in := func(m map[string]Value) {
		for _, name := range sorted(m) {
			all = append(all, place{func() Value { return m[name] }, func(n Value) { m[name] = n }})
		}
	}
	at(&s.Event)
	at(&s.Input)
	in(s.Vars)
	for _, scope := range sorted(s.Locals) {
		in(s.Locals[scope])
	}
	for _, key := range sorted(s.Steps) {
		e := s.Steps[key]
		if e.Result != nil {
			result := *e.Result
			e.Result = &result // the state that this one is a copy of has the other
			at(e.Result)
		}
		if e.Loop != nil {
			at(&e.Loop.Items)
		}
	}
	if s.Output != nil {
		output := *s.Output
		s.Output = &output
		at(s.Output)
	}
	return all
}
