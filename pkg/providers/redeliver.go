package providers

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/expression"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

const (
	defaultHorizon = 72 * time.Hour
	maxHorizon     = 90 * 24 * time.Hour
	defaultTries   = 5
	maxTries       = 20
)

// Redeliver is how deliveries that failed are found at a provider that does not
// send them again by itself, and how it is asked to.
type Redeliver struct {
	Auth     string                  `yaml:"auth"`     // id of the auth whose connections may ask
	List     string                  `yaml:"list"`     // a read of the pack that lists attempts to deliver, the newest first
	Params   map[string]JSONTemplate `yaml:"params"`   // its parameters; no fields
	Items    Source                  `yaml:"items"`    // json:/pointer to the list in the action's data; empty: the data is the list
	Failed   Match                   `yaml:"failed"`   // which of them failed; field: item
	ID       Source                  `yaml:"id"`       // json:/pointer in an item: what is the same each time that a delivery is sent
	Time     TimeSource              `yaml:"time"`     // in an item: when it was sent
	Again    string                  `yaml:"again"`    // the action that asks for one more attempt
	With     map[string]JSONTemplate `yaml:"with"`     // its parameters; fields: item.NAME
	Horizon  time.Duration           `yaml:"horizon"`  // for how long the provider can still send it; 0: 72 h
	Attempts int                     `yaml:"attempts"` // after so many that failed it is given up; 0: 5
}

// DeliveryAttempt is one attempt of the provider to deliver.
type DeliveryAttempt struct {
	ID     string // of the delivery; at most 256 bytes
	Time   time.Time
	Failed bool
	Again  json.RawMessage // the parameters of the action that asks for another attempt
}

// ListParams are the parameters of the action that lists attempts.
func (d *Redeliver) ListParams() json.RawMessage { return fillParams(d.Params, nil) }

// Longest is for how long a delivery can still be sent again.
func (d *Redeliver) Longest() time.Duration { return cmp.Or(d.Horizon, defaultHorizon) }

// Tries is after how many failed attempts a delivery is given up.
func (d *Redeliver) Tries() int { return cmp.Or(d.Attempts, defaultTries) }

// Read reads the data of the action that lists attempts. Items without an id or
// a time are left out.
func (d *Redeliver) Read(data json.RawMessage) ([]DeliveryAttempt, error) {
	list, ok := follow(decodeBody(data), d.Items.pointer)
	items, isList := list.([]any)
	if !ok || !isList {
		return nil, errors.New("the list of deliveries is not where the pack says")
	}
	all := make([]DeliveryAttempt, 0, len(items))
	for _, item := range items {
		if attempt, ok := d.attempt(item); ok {
			all = append(all, attempt)
		}
	}
	return all, nil
}

func (d *Redeliver) attempt(item any) (DeliveryAttempt, bool) {
	id, hasID := d.ID.fromResponse(nil, item)
	stamp, hasTime := d.Time.From.fromResponse(nil, item)
	at, isTime := parseTime(stamp, d.Time.Format)
	if !hasID || !hasTime || !isTime || len(id) > maxID {
		return DeliveryAttempt{}, false
	}
	copied := expression.Numbers(decodeBody(rawOf(item))) // it changes what it is given
	return DeliveryAttempt{
		ID: id, Time: at.UTC(), Failed: d.Failed.holds(candidate{Item: copied}), Again: fillParams(d.With, item),
	}, true
}

func fillParams(templates map[string]JSONTemplate, item any) json.RawMessage {
	params := map[string]any{}
	for name, template := range templates {
		if v, ok := template.fill(valueAt(nil, item, nil)); ok {
			params[name] = v
		}
	}
	return rawOf(params)
}

// check reports what is wrong with the block.
func (d *Redeliver) check(p *Pack, r report) {
	const path = "webhooks.redeliver"
	if _, ok := p.AuthByID(d.Auth); !ok || d.Auth == "" {
		r(path+".auth", "must be the id of one of the pack's auth blocks")
	}
	d.checkAction(p, path+".list", d.List, path+".params", d.Params, r)
	d.checkAction(p, path+".again", d.Again, path+".with", d.With, r)
	if a := p.Actions[d.List]; a != nil && a.Effect != EffectRead {
		r(path+".list", "must have effect: %s", EffectRead)
	}
	if !d.Items.IsZero() && d.Items.kind != sourceJSON {
		r(path+".items", "must be json:/pointer")
	}
	for name, s := range map[string]Source{"id": d.ID, "time.from": d.Time.From} {
		if s.kind != sourceJSON || s.optional {
			r(path+"."+name, "must be json:/pointer, in an item of the list")
		}
	}
	checkWord(path+".time.format", d.Time.Format, r, timeFormats()...)
	if d.Failed.IsZero() {
		r(path+".failed", "is missing")
	}
	if d.Horizon < 0 || d.Horizon > maxHorizon {
		r(path+".horizon", "must be at most %s", maxHorizon)
	}
	if d.Attempts < 0 || d.Attempts > maxTries {
		r(path+".attempts", "must be at most %d", maxTries)
	}
}

func (d *Redeliver) checkAction(p *Pack, path, name, paramsPath string, params map[string]JSONTemplate, r report) {
	a := p.Actions[name]
	if a == nil {
		r(path, "is no action of the pack%s", nearest.Hint(name, maps.Keys(p.Actions)))
		return
	}
	properties := map[string]any{}
	if a.Params != nil {
		properties = a.Params.properties()
	}
	for _, param := range slices.Sorted(maps.Keys(params)) {
		if _, ok := properties[param]; !ok {
			r(paramsPath+"."+param, "is no parameter of %s%s", name, nearest.Hint(param, maps.Keys(properties)))
		}
		for _, field := range params[param].fields() {
			if name == d.List || !strings.HasPrefix(field, itemField+".") {
				r(paramsPath+"."+param, "{{%s}} is not known here%s", field, onlyItem(name == d.List))
			}
		}
	}
}

func onlyItem(list bool) string {
	if list {
		return ": nothing was listed yet"
	}
	return fmt.Sprintf(", only {{%s.NAME}}", itemField)
}
