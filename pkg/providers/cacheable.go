package providers

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// MaxCache is the longest that an answer may be kept.
const MaxCache = 24 * time.Hour

// IsCacheable reports whether answers of the action may be kept and used again.
func (a *Action) IsCacheable() bool { return a.Effect == EffectRead && !a.GivesFile() }

// MarksRead names what the answer to a read depends on: it is old once one of
// these names was among [Action.MarksWritten] of a write with the same
// credential. params were found right.
func (a *Action) MarksRead(params json.RawMessage) []string {
	if len(a.shared) == 0 {
		return nil
	}
	object, _ := parseParams(params)
	marks := make([]string, len(a.shared))
	for i, names := range a.shared {
		marks[i] = mark(a.Name, names, object)
	}
	return marks
}

// MarksWritten names what a write makes old, see [Action.MarksRead].
func (a *Action) MarksWritten(params json.RawMessage) []string {
	if len(a.Invalidates) == 0 {
		return nil
	}
	object, _ := parseParams(params)
	marks := make([]string, 0, len(a.Invalidates))
	for _, name := range a.Invalidates {
		if read, ok := a.pack.Actions[name]; ok {
			marks = append(marks, mark(name, sharedNames(read, a), object))
		}
	}
	return marks
}

// mark is one name: an action and the values of some of its parameters. Case is
// left out of account: many providers do not tell it apart in paths.
func mark(action string, names []string, params map[string]any) string {
	values := url.Values{}
	for _, name := range names {
		text, _ := scalar(params[name])
		values.Set(name, strings.ToLower(text))
	}
	return action + "?" + values.Encode()
}

// sharedNames lists the parameters that stand in the paths of both: what they
// name is the same thing, or one holds the other.
func sharedNames(read, write *Action) []string {
	var names []string
	for _, field := range read.Request.Path.fields() {
		if slices.Contains(write.Request.Path.fields(), field) {
			names = append(names, strings.TrimPrefix(field, "params."))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// linkCache finds, for each read, what the writes that make it old share with it.
func (p *Pack) linkCache() {
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		write := p.Actions[name]
		for _, target := range write.Invalidates {
			read, ok := p.Actions[target]
			if !ok {
				continue
			}
			names := sharedNames(read, write)
			if !slices.ContainsFunc(read.shared, func(have []string) bool { return slices.Equal(have, names) }) {
				read.shared = append(read.shared, names)
			}
		}
	}
}

func (a *Action) checkCache(path string, r report) {
	if a.Cache != 0 && a.Effect != EffectRead {
		r(path+".cache", "has no place here: only answers of a read are kept")
	}
	if a.Cache > MaxCache {
		r(path+".cache", "must be at most %s", MaxCache)
	}
	if len(a.Invalidates) > 0 && a.Effect == EffectRead {
		r(path+".invalidates", "has no place here: a read makes nothing old")
	}
	for i, name := range a.Invalidates {
		if read, ok := a.pack.Actions[name]; !ok || read.Effect != EffectRead {
			r(item(path+".invalidates", i), "must be a read of this pack%s", nearest.Hint(name, maps.Keys(a.pack.Actions)))
		}
	}
}
