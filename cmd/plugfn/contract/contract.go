package contract

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

const dialect = "https://json-schema.org/draft/2020-12/schema"

// Files are all documents, by their names below api/.
func Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	var err error
	if files["asyncapi.json"], err = AsyncAPI(); err != nil {
		return nil, err
	}
	if files["openapi.json"], err = OpenAPI(); err != nil {
		return nil, err
	}
	for _, kind := range Kinds() {
		if files[kind+".schema.json"], err = Schema(kind); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Kinds lists what there is a JSON Schema of.
func Kinds() []string {
	return []string{"config", "pack", "result", "run", "workflow"}
}

// Schema is the JSON Schema of a kind of file or message.
func Schema(kind string) ([]byte, error) {
	switch kind {
	case "config":
		return settings.Schema(), nil
	case "workflow":
		return workflow.Schema(), nil
	case "pack":
		return packSchema()
	case "result":
		return typeSchema("Result of a request", reflect.TypeFor[events.Result]())
	case "run":
		return typeSchema("Transition of a run", reflect.TypeFor[events.RunChange]())
	}
	return nil, fmt.Errorf("there is no schema of %s, only of %s", kind, strings.Join(Kinds(), ", "))
}

// typeSchema is the schema of a type of the wire.
func typeSchema(title string, t reflect.Type) ([]byte, error) {
	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	ref := registry.Schema(t, true, t.Name())
	defs := map[string]any{}
	for name, s := range registry.Map() {
		plain, err := plainOf(s)
		if err != nil {
			return nil, err
		}
		defs[name] = loosen(plain)
	}
	return text(map[string]any{"$schema": dialect, "title": title, "$ref": ref.Ref, "$defs": defs})
}

// loosen lets a message have members that are not known yet: a reader of today
// understands a writer of tomorrow.
func loosen(schema map[string]any) map[string]any {
	if schema["additionalProperties"] == false {
		delete(schema, "additionalProperties")
	}
	return schema
}

// plainOf is a value as JSON has it.
func plainOf(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	return plain, json.Unmarshal(raw, &plain)
}

func text(v any) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", "  ")
	return append(raw, '\n'), err
}

// AsyncAPI describes the subjects.
func AsyncAPI() ([]byte, error) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	channels, operations := map[string]any{}, map[string]any{}
	for _, c := range events.Channels() {
		channels[c.Name] = channelOf(c, registry)
		operations[c.Name] = operationOf(c)
		if c.Asked {
			channels[c.Name+"Reply"] = map[string]any{
				"address": nil, "description": "The reply subject of the request.",
				"messages": map[string]any{"reply": message(c.Name+" reply", c.Reply, nil, registry)},
			}
		}
	}
	schemas := map[string]any{}
	for name, s := range registry.Map() {
		plain, err := plainOf(s)
		if err != nil {
			return nil, err
		}
		schemas[name] = loosen(plain)
	}
	return text(map[string]any{
		"asyncapi": "3.0.0",
		"info": map[string]any{
			"title": "PlugFn on NATS", "version": "1",
			"description": "The subjects that applications publish and subscribe to, seen from the application. A token keeps A-Z a-z 0-9 _ and -, any other byte is =XX; one longer than 64 bytes is h- and 16 hex digits of its SHA-256. What is stored is a CloudEvent 1.0 in binary mode.",
		},
		"defaultContentType": "application/json",
		"servers":            map[string]any{"local": map[string]any{"host": "127.0.0.1:4222", "protocol": "nats"}},
		"channels":           channels,
		"operations":         operations,
		"components":         map[string]any{"schemas": schemas},
	})
}

func channelOf(c events.Channel, registry huma.Registry) map[string]any {
	parameters := map[string]any{}
	for _, part := range strings.Split(c.Address, "{")[1:] {
		name, _, _ := strings.Cut(part, "}")
		parameters[name] = map[string]any{"description": parameterText(name)}
	}
	channel := map[string]any{
		"address": c.Address, "description": c.Summary, "parameters": parameters,
		"messages": map[string]any{c.Name: message(c.Name, c.Type, c.Headers, registry)},
	}
	if c.Stream != "" {
		channel["x-jetstream"] = map[string]any{"stream": c.Stream}
	}
	return channel
}

func parameterText(name string) string {
	switch name {
	case "user":
		return "Whose it is; _ stands for nobody or an unknown one."
	case "action", "event":
		return "A dotted name: each part is a token of its own."
	default:
		return "One token."
	}
}

func message(name string, body any, headers []string, registry huma.Registry) map[string]any {
	m := map[string]any{"name": name, "contentType": "application/json"}
	if body != nil {
		m["payload"] = map[string]any{"$ref": registry.Schema(reflect.TypeOf(body), true, reflect.TypeOf(body).Name()).Ref}
	} else {
		m["payload"] = map[string]any{"description": "Its own: see the provider's pack."}
	}
	if len(headers) > 0 {
		properties := map[string]any{}
		for _, h := range slices.Sorted(slices.Values(headers)) {
			properties[h] = map[string]any{"type": "string"}
		}
		m["headers"] = map[string]any{"type": "object", "properties": properties}
	}
	return m
}

// operationOf says what an application does with a channel.
func operationOf(c events.Channel) map[string]any {
	does := "receive"
	if c.From == "application" {
		does = "send"
	}
	o := map[string]any{
		"action": does, "channel": map[string]any{"$ref": "#/channels/" + c.Name},
		"summary": c.Summary, "description": c.From + " → " + c.To,
	}
	if c.Asked {
		o["reply"] = map[string]any{"channel": map[string]any{"$ref": "#/channels/" + c.Name + "Reply"}}
	}
	return o
}
