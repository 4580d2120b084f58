package providers

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

const (
	maxLimits    = 30 // of a pack: a call never has more keys than a limiter takes
	maxLimitKeys = 6

	// A pack that declares no pause has this one: a refusal is never ignored.
	pauseAnyway = "refused"
	pauseLength = 30 * time.Second
)

// checkLimits also tells each action which limits count for it.
func (p *Pack) checkLimits(r report) {
	if len(p.Limits) > maxLimits {
		r("limits", "must be at most %d", maxLimits)
	}
	byID := map[string]*Limit{}
	for i, l := range p.Limits {
		path := item("limits", i)
		switch {
		case !idName.MatchString(l.ID):
			r(path+".id", "must be a-z, then up to 39 of a-z, 0-9 and _")
		case byID[l.ID] != nil:
			r(path+".id", "%s is there twice", l.ID)
		}
		byID[l.ID] = l
		l.check(path, r)
	}
	named := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		a := p.Actions[name]
		for i, id := range a.LimitIDs {
			path := item("actions."+name+".limits", i)
			switch {
			case byID[id] == nil:
				r(path, "no limit is called %q%s", clip(id, 40), nearest.Hint(id, maps.Keys(byID)))
			case slices.Index(a.LimitIDs, id) < i:
				r(path, "%s is there twice", id)
			}
			named[id] = true
		}
	}
	for i, l := range p.Limits {
		if l.readsParams() && !named[l.ID] {
			r(item("limits", i)+".key", "has a parameter: name %s in the limits of the actions that have it", l.ID)
		}
	}
	if byID[pauseAnyway] == nil && !slices.ContainsFunc(p.Limits, func(l *Limit) bool { return l.Pause > 0 }) {
		p.Limits = append(p.Limits, &Limit{ID: pauseAnyway, Key: []string{dimensionConnection}, Pause: pauseLength})
	}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		p.Actions[name].bindLimits(p.Limits, named, "actions."+name, r)
	}
	for _, l := range p.Limits {
		l.bindOwn(p.Actions)
	}
}

func (l *Limit) check(path string, r report) {
	kinds := 0
	for _, given := range []bool{l.Rate != (Rate{}), l.Concurrency != 0, l.Pause != 0} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		r(path, "needs one of rate, concurrency and pause")
	}
	if l.Concurrency < 0 || l.Concurrency > maxRateCount {
		r(path+".concurrency", "must be from 1 to %d", maxRateCount)
	}
	if l.Burst < 0 || l.Burst > maxRateCount || l.Burst > 0 && l.Rate == (Rate{}) {
		r(path+".burst", "must be a number above zero, and goes with a rate")
	}
	if l.Pause > maxRetryAfter {
		r(path+".pause", "must be at most %s", maxRetryAfter)
	}
	if !l.When.IsZero() && l.Pause == 0 && l.Observe == "" && l.Read == nil {
		r(path+".when", "goes with a pause, with observe or with read")
	}
	l.checkObserved(path, r)
	l.checkKey(path+".key", r)
}

func (l *Limit) checkObserved(path string, r report) {
	if l.Rate == (Rate{}) && (l.Observe != "" || l.Read != nil) {
		r(path+".observe", "goes with a rate")
	}
	if l.Observe != "" && !slices.Contains(observeForms(), l.Observe) {
		r(path+".observe", "must be one of %s%s", strings.Join(observeForms(), ", "), nearest.Hint(l.Observe, slices.Values(observeForms())))
	}
	if l.Read == nil {
		return
	}
	at := l.Read
	switch left := !at.Remaining.IsZero(); {
	case left && l.Observe != "":
		r(path+".read.remaining", "is read from the headers already: leave out one of observe and read.remaining")
	case left && at.Reset.IsZero() == at.Restore.IsZero():
		r(path+".read", "needs one of reset and restore beside remaining")
	case !left && (!at.Reset.IsZero() || !at.Restore.IsZero() || at.Used.IsZero()):
		r(path+".read", "needs remaining, used or both")
	case at.Limit.IsZero() != at.Restore.IsZero():
		r(path+".read", "needs limit and restore together")
	}
	for _, s := range []struct {
		name   string
		source Source
	}{{"remaining", at.Remaining}, {"reset", at.Reset}, {"limit", at.Limit}, {"restore", at.Restore}, {"used", at.Used}} {
		checkSource(path+".read."+s.name, s.source, r)
	}
}

func (l *Limit) checkKey(path string, r report) {
	known := []string{dimensionApp, dimensionConnection, dimensionAccount, dimensionAction}
	if len(l.Key) == 0 || len(l.Key) > maxLimitKeys {
		r(path, "must be a list of %s and params.NAME, at most %d", strings.Join(known, ", "), maxLimitKeys)
	}
	for i, dimension := range l.Key {
		name, isParam := strings.CutPrefix(dimension, dimensionParam)
		switch {
		case !slices.Contains(known, dimension) && (!isParam || name == ""):
			r(item(path, i), "must be %s or params.NAME%s", strings.Join(known, ", "), nearest.Hint(dimension, slices.Values(known)))
		case slices.Index(l.Key, dimension) < i:
			r(item(path, i), "%s is there twice", dimension)
		}
	}
}

func (l *Limit) readsParams() bool {
	return slices.ContainsFunc(l.Key, func(d string) bool { return strings.HasPrefix(d, dimensionParam) })
}

// bindLimits finds the limits of an action and judges what it says about them.
func (a *Action) bindLimits(all []*Limit, named map[string]bool, path string, r report) {
	rates := map[string]*Limit{}
	for _, l := range all {
		if named[l.ID] && !slices.Contains(a.LimitIDs, l.ID) {
			continue
		}
		a.limits = append(a.limits, l)
		a.limitsReadParams = a.limitsReadParams || l.readsParams()
		if l.Rate != (Rate{}) {
			rates[l.ID] = l
		}
		for _, dimension := range l.Key {
			if name, ok := strings.CutPrefix(dimension, dimensionParam); ok {
				a.checkLimitParam(name, l.ID, path, r)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.Cost)) {
		at, cost := path+".cost."+id, a.Cost[id]
		switch l := rates[id]; {
		case l == nil:
			r(at, "no rate of this action is called %q%s", clip(id, 40), nearest.Hint(id, maps.Keys(rates)))
		case cost < 1 || cost > l.BurstOrDefault(l.Rate):
			r(at, "must be from 1 to the burst of %s, which is %d", id, l.BurstOrDefault(l.Rate))
		}
	}
}

func (a *Action) checkLimitParam(name, limit, path string, r report) {
	property, ok := a.Params.properties()[name]
	switch {
	case !ok:
		r(path+".limits", "the key of %s has params.%s, and params has no such property%s", limit, name, nearest.Hint(name, maps.Keys(a.Params.properties())))
	case !isScalarSchema(property):
		r(path+".limits", "the key of %s has params.%s: params.properties.%s must have type string, integer, number or boolean", limit, name, name)
	}
}
