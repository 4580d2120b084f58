package providers

import (
	"encoding/json"
	"maps"
	"slices"
)

// Description is what an application may know of a provider.
type Description struct {
	Name       string               `json:"name"`
	Title      string               `json:"title"` // what people call it
	Version    string               `json:"version"`
	Docs       string               `json:"docs,omitempty"`
	Categories []string             `json:"categories,omitempty"`
	Auth       []AuthDescription    `json:"auth"`
	Actions    []ActionDescription  `json:"actions"`
	Triggers   []TriggerDescription `json:"triggers"`
	Webhooks   bool                 `json:"webhooks"` // it sends deliveries
}

// AuthDescription is one way to connect an account.
type AuthDescription struct {
	ID     string   `json:"id"`
	Type   AuthType `json:"type"`
	Scopes []string `json:"scopes,omitempty"` // that are asked for where nobody says which
}

// ActionDescription is an operation that a provider offers.
type ActionDescription struct {
	Name      string          `json:"name"`
	Summary   string          `json:"summary,omitempty"`
	Docs      string          `json:"docs,omitempty"`
	Effect    Effect          `json:"effect"`
	Scopes    []string        `json:"scopes,omitempty"`
	Paginated bool            `json:"paginated,omitempty"` // it gives a list page by page
	Params    json.RawMessage `json:"params,omitempty"`    // JSON Schema
	Data      json.RawMessage `json:"data,omitempty"`      // JSON Schema of what it gives back, as far as promised
}

// TriggerDescription is an event that a provider can send.
type TriggerDescription struct {
	Name    string          `json:"name"`
	Summary string          `json:"summary,omitempty"`
	Docs    string          `json:"docs,omitempty"`
	Scopes  []string        `json:"scopes,omitempty"`
	Schema  json.RawMessage `json:"schema,omitempty"` // JSON Schema of the payload, as far as promised
}

// Describe tells what an application may know of the provider: everything by
// name in alphabetical order, with the JSON Schemas where they are wanted.
func (p *Pack) Describe(schemas bool) Description {
	d := Description{
		Name: p.Name, Title: p.Display.Name, Version: p.Version, Docs: p.Display.Docs, Categories: p.Display.Categories,
		Auth: []AuthDescription{}, Actions: []ActionDescription{}, Triggers: []TriggerDescription{}, Webhooks: p.Webhooks != nil,
	}
	for _, a := range p.Auth {
		d.Auth = append(d.Auth, AuthDescription{ID: a.ID, Type: a.Type, Scopes: a.DefaultScopes})
	}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		a := p.Actions[name]
		one := ActionDescription{Name: name, Summary: a.Summary, Docs: a.Docs, Effect: a.Effect, Scopes: a.Scopes, Paginated: a.Paginate != nil}
		if schemas && a.Params != nil {
			one.Params, one.Data = a.Params.JSON(), a.DataSchema()
		}
		d.Actions = append(d.Actions, one)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Triggers)) {
		t := p.Triggers[name]
		one := TriggerDescription{Name: name, Summary: t.Summary, Docs: t.Docs, Scopes: t.Scopes}
		if schemas && t.Schema != nil {
			one.Schema = t.Schema.JSON()
		}
		d.Triggers = append(d.Triggers, one)
	}
	return d
}
