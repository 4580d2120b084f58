package settings

import (
	"encoding/json"
	"strconv"
	"strings"
)

// schemaNode is a JSON Schema, as far as it is needed here. The members that
// begin with x- say by which variable and flag the same is set.
type schemaNode struct {
	Schema      string                 `json:"$schema,omitempty"`
	Title       string                 `json:"title,omitempty"`
	Description string                 `json:"description,omitempty"`
	Type        any                    `json:"type,omitempty"`
	Enum        []string               `json:"enum,omitempty"`
	Default     any                    `json:"default,omitempty"`
	Items       *schemaNode            `json:"items,omitempty"`
	Properties  map[string]*schemaNode `json:"properties,omitempty"`
	Additional  any                    `json:"additionalProperties,omitempty"`
	Env         string                 `json:"x-env,omitempty"`
	Flag        string                 `json:"x-flag,omitempty"`
	EnvOnly     []string               `json:"x-env-only,omitempty"`
}

// Schema returns the JSON Schema of the configuration file, for editors and for
// those who check a deployment without PlugFn.
func Schema() []byte {
	root := object("PlugFn's configuration file")
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	for _, v := range Table() {
		if v.Key == "" {
			root.EnvOnly = append(root.EnvOnly, v.Name)
			continue
		}
		root.put(strings.Split(v.Key, "."), v)
	}
	root.Properties[strings.TrimSuffix(providersKey, ".")] = providersSchema()
	text, _ := json.MarshalIndent(root, "", "  ") // texts and maps only
	return append(text, '\n')
}

func object(title string) *schemaNode {
	return &schemaNode{Title: title, Type: "object", Properties: map[string]*schemaNode{}, Additional: false}
}

// put adds a row at its path, and beside a secret the file that may hold it.
func (n *schemaNode) put(path []string, v Variable) {
	for _, name := range path[:len(path)-1] {
		if n.Properties[name] == nil {
			n.Properties[name] = object("")
		}
		n = n.Properties[name]
	}
	name := path[len(path)-1]
	kind, byDefault := v.jsonType()
	n.Properties[name] = &schemaNode{Description: v.Help, Type: kind, Enum: v.Values, Default: byDefault, Env: v.Name, Flag: v.Flag}
	if v.Secret {
		n.Properties[name].Flag = ""
		n.Properties[name+strings.ToLower(FileSuffix)] = &schemaNode{
			Description: "path of a file with the " + v.Help, Type: "string", Env: v.Name + FileSuffix, Flag: v.Flag,
		}
	}
}

// jsonType returns the types that the value of a row may have in the file, and
// its default as such.
func (v Variable) jsonType() (kind, byDefault any) {
	if v.Switch {
		return "boolean", v.Default == "true"
	}
	if n, err := strconv.Atoi(v.Default); err == nil {
		return "integer", n
	}
	if v.Default == "" {
		return "string", nil
	}
	if _, isSize := parseSize(v.Default); isSize {
		return []string{"string", "integer"}, v.Default
	}
	return "string", v.Default
}

func providersSchema() *schemaNode {
	each := object("")
	for _, v := range ProviderTable() {
		name := ProviderName("<provider>", v)
		p := &schemaNode{Description: v.Help, Type: "string", Env: name}
		switch v.Key {
		case "webhook_secret":
			p.Type, p.Items = []string{"string", "array"}, &schemaNode{Type: "string"}
		case "allow_unsigned":
			p.Type = []string{"string", "boolean"}
		}
		each.Properties[v.Key] = p
		each.Properties[v.Key+strings.ToLower(FileSuffix)] = &schemaNode{
			Description: "path of a file with the value of " + v.Key, Type: "string", Env: name + FileSuffix,
		}
	}
	return &schemaNode{Description: "settings of single providers, by the names of their packs", Type: "object", Additional: each}
}
