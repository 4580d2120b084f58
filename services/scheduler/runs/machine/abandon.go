package machine

import (
	"strings"
	"time"
)

// Abandon ends a run that cannot go on, because there is nothing to advance it
// with: it has failed, and what it waits for is given up. A run that has ended
// stays as it is, with no effects.
func Abandon(s *State, f *Failure, now time.Time) (*State, []Effect) {
	if s.Status.Ended() {
		return s, nil
	}
	if now.Before(s.At) {
		now = s.At
	}
	w := &walker{state: s.clone(), now: now.UTC()}
	for _, key := range sorted(w.state.Steps) {
		e := w.state.Steps[key]
		if e.Status != Waiting && e.Status != Running {
			continue
		}
		if e.Status == Waiting {
			w.do(Release{ID: key + suffix(e.Try)})
			w.do(Release{ID: timeoutID(key + suffix(e.Try))})
		}
		w.end(key, e, Canceled, nil, nil)
	}
	w.finish(Failed, "", f)
	w.state.N++
	w.state.At, w.state.More = w.now, ""
	for _, n := range w.state.Told {
		w.do(Tell{n})
	}
	return w.state, w.effects
}

// Step is the id in the definition of the step that an effect with the id is of.
func Step(id string) string {
	key, _, _ := strings.Cut(id, "~")
	return key[strings.LastIndexByte(key, '.')+1:]
}

// EffectID is the id of the effect that the step of an entry waits for.
func EffectID(key string, e *Entry) string { return key + suffix(e.Try) }
