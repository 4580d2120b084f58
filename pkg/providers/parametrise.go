package providers

import (
	"errors"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// fixedKeys lists what an endpoint cannot replace.
func fixedKeys() []string { return []string{"parametrised", "hint", "redeliver"} }

// With returns the block with parts of it replaced, for one endpoint: fragment is
// a mapping of keys of the block, in YAML or JSON, such as
//
//	{"verify": [{"scheme": "token", "signature": {"from": "header:X-Token"}}], "event": ["json:/kind"]}
//
// It is checked like a pack, and its problems are one error. It is an error if
// the pack is not parametrised.
func (w *Webhooks) With(fragment []byte) (*Webhooks, error) {
	if !w.Parametrised {
		return nil, errors.New("the webhooks of " + w.pack.Name + " have no parameters")
	}
	if len(fragment) > maxPackFile {
		return nil, errors.New("the parameters are larger than 1 MiB")
	}
	fresh := &Pack{dir: w.pack.dir, document: w.pack.document}
	if err := readYAML(packFile, w.pack.document, fresh).err(); err != nil {
		return nil, err // which it was not when it was loaded
	}
	fresh.link()
	d := readFragment("parameters", fragment, "webhooks", fresh.Webhooks)
	fresh.check(w.pack.Name, d.report)
	if err := d.err(); err != nil {
		return nil, err
	}
	fresh.Webhooks.pack = w.pack
	return fresh.Webhooks, nil
}

// readFragment decodes a mapping over a struct that is there already. Its fields
// are reported below path.
func readFragment(file string, data []byte, path string, into any) *document {
	d := &document{file: file, lines: map[string]int{}}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		d.syntax(err)
		return d
	}
	if len(root.Content) == 0 {
		return d
	}
	for i := 0; i < len(root.Content[0].Content); i += 2 {
		if key := root.Content[0].Content[i]; slices.Contains(fixedKeys(), key.Value) {
			d.fail(key.Line, joinPath(path, key.Value), "is the pack's to say")
			return d
		}
	}
	d.value(root.Content[0], reflect.ValueOf(into).Elem(), path)
	return d
}
