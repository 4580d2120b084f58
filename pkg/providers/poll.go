package providers

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers/expression"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

const (
	defaultPollEvery = time.Minute
	maxPollEvery     = 24 * time.Hour
)

// Poll is how a trigger that the provider does not push is looked for: a list is
// read again and again, and what is new in it is an event. The event's data is
// the item.
type Poll struct {
	Action  string                  `yaml:"action"`  // a read of the pack that lists
	Params  map[string]JSONTemplate `yaml:"params"`  // its parameters that are the same for everybody; no fields
	Since   *PollSince              `yaml:"since"`   // nil: the whole list is read each time
	Items   Source                  `yaml:"items"`   // json:/pointer to the list in the action's data; empty: the data is the list
	ID      Source                  `yaml:"id"`      // json:/pointer in an item
	Version Source                  `yaml:"version"` // json:/pointer in an item: when it changes the item is an event again; empty: never
	Time    *TimeSource             `yaml:"time"`    // in an item: when it happened; nil: when it was seen
	When    Match                   `yaml:"when"`    // which items are events; field: item; empty: all
	Every   time.Duration           `yaml:"every"`   // the shortest time from one look to the next; 0: a minute
	First   PollFirst               `yaml:"first"`   // what becomes of what the first look finds; empty: PollFirstSkip
}

// PollSince is a parameter that leaves out what is older than the newest item
// that is known.
type PollSince struct {
	Param  string `yaml:"param"`
	Format string `yaml:"format"` // unix, unix_ms, rfc3339
}

// PollFirst says what becomes of the items that are there when somebody begins
// to look.
type PollFirst string

// What becomes of them.
const (
	PollFirstSkip PollFirst = "skip" // they are known
	PollFirstAll  PollFirst = "all"  // they are events
)

// PollItem is one item of the list.
type PollItem struct {
	ID      string // at most 256 bytes
	Version string // at most 256 bytes; "": it has none
	Time    time.Time
	Data    json.RawMessage
}

// Shortest is the shortest time from one look to the next.
func (p *Poll) Shortest() time.Duration { return cmp.Or(p.Every, defaultPollEvery) }

// Fill makes the parameters of the action of those that somebody chose: a JSON
// object or nothing. since is the time of the newest item that is known, zero
// for none.
func (p *Poll) Fill(chosen json.RawMessage, since time.Time) (json.RawMessage, error) {
	params := map[string]any{}
	if len(chosen) > 0 {
		own, ok := decodeBody(chosen).(map[string]any)
		if !ok {
			return nil, events.Errorf(events.CodeInvalidParams, "params: must be a JSON object")
		}
		params = own
	}
	for name := range params {
		if _, fixed := p.Params[name]; fixed || p.Since != nil && name == p.Since.Param {
			return nil, events.Errorf(events.CodeInvalidParams, "params.%s: is set by the trigger: leave it out", name)
		}
	}
	for name, template := range p.Params {
		if v, ok := template.fill(valueAt(nil, nil, nil)); ok {
			params[name] = v
		}
	}
	if p.Since != nil && !since.IsZero() {
		params[p.Since.Param] = p.Since.write(since)
	}
	return rawOf(params), nil
}

func (s *PollSince) write(t time.Time) any {
	switch s.Format {
	case "unix":
		return json.Number(strconv.FormatInt(t.Unix(), 10))
	case "unix_ms":
		return json.Number(strconv.FormatInt(t.UnixMilli(), 10))
	default:
		return t.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
}

// Read reads the data of the action. Items without an id are left out, and those
// that are no events of the trigger. One without a time has the zero one.
func (p *Poll) Read(data json.RawMessage) ([]PollItem, error) {
	list, ok := follow(decodeBody(data), p.Items.pointer)
	items, isList := list.([]any)
	if !ok || !isList {
		return nil, errors.New("the list is not where the pack says")
	}
	all := make([]PollItem, 0, len(items))
	for _, item := range items {
		if one, ok := p.item(item); ok {
			all = append(all, one)
		}
	}
	return all, nil
}

func (p *Poll) item(item any) (PollItem, bool) {
	id, ok := p.ID.fromResponse(nil, item)
	if !ok || len(id) > maxID {
		return PollItem{}, false
	}
	one := PollItem{ID: id, Data: rawOf(item)}
	if !p.Version.IsZero() {
		if one.Version, _ = p.Version.fromResponse(nil, item); len(one.Version) > maxID {
			return PollItem{}, false
		}
	}
	if p.Time != nil {
		stamp, _ := p.Time.From.fromResponse(nil, item)
		if at, ok := parseTime(stamp, p.Time.Format); ok {
			one.Time = at.UTC()
		}
	}
	if p.When.IsZero() {
		return one, true
	}
	copied := expression.Numbers(decodeBody(one.Data)) // it changes what it is given
	return one, p.When.holds(candidate{Item: copied})
}

// check reports what is wrong with the block.
func (p *Poll) check(path string, of *Pack, r report) {
	path += ".poll"
	a := of.Actions[p.Action]
	switch {
	case a == nil:
		r(path+".action", "is no action of the pack%s", nearest.Hint(p.Action, maps.Keys(of.Actions)))
	case a.Effect != EffectRead:
		r(path+".action", "must have effect: %s", EffectRead)
	default:
		p.checkParams(path, a, r)
	}
	if !p.Items.IsZero() && p.Items.kind != sourceJSON {
		r(path+".items", "must be json:/pointer")
	}
	p.checkSource(path+".id", p.ID, r)
	if !p.Version.IsZero() {
		p.checkSource(path+".version", p.Version, r)
	}
	if p.Time != nil {
		p.checkSource(path+".time.from", p.Time.From, r)
		checkWord(path+".time.format", p.Time.Format, r, timeFormats()...)
	}
	if p.Every != 0 && (p.Every < time.Second || p.Every > maxPollEvery) {
		r(path+".every", "must be from 1s to %s", maxPollEvery)
	}
	if p.First != "" {
		checkWord(path+".first", string(p.First), r, string(PollFirstSkip), string(PollFirstAll))
	}
}

func (p *Poll) checkSource(path string, s Source, r report) {
	if s.kind != sourceJSON || s.optional {
		r(path, "must be json:/pointer, in an item of the list")
	}
}

func (p *Poll) checkParams(path string, a *Action, r report) {
	properties := map[string]any{}
	if a.Params != nil {
		properties = a.Params.properties()
	}
	known := func(path, name string) {
		if _, ok := properties[name]; !ok {
			r(path, "is no parameter of %s%s", p.Action, nearest.Hint(name, maps.Keys(properties)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Params)) {
		known(path+".params."+name, name)
		if fields := p.Params[name].fields(); len(fields) > 0 {
			r(path+".params."+name, "{{%s}} is not known here: nothing was listed yet", strings.Join(fields, "}}, {{"))
		}
	}
	if p.Since == nil {
		return
	}
	known(path+".since.param", p.Since.Param)
	checkWord(path+".since.format", p.Since.Format, r, timeFormats()...)
	if p.Time == nil {
		r(path+".since", "needs time: it is that of the newest item")
	}
}
