package providers

import (
	"go.yaml.in/yaml/v3"
)

// Conditions are what a delivery must have. In YAML they are a mapping from a
// source to what it has to be: a text, a list of texts of which it is one,
// {secret: KIND}, {url: registered}, {present: true} or {present: false}:
//
//	{"json:/type": url_verification, "query:token": {secret: verify_token}}
type Conditions []condition

type condition struct {
	from     Source
	want     []Expected
	presence string // true, false; "": want says it
}

// Expected is a text that is known before the delivery: in YAML the text
// itself, {secret: KIND} for one of the endpoint's secrets of the kind, or
// {url: registered} for the endpoint's address.
type Expected struct {
	text   string
	secret string
	url    bool
}

const wantedExpected = `want a text, {secret: KIND} or {url: registered}`

// UnmarshalYAML reads the written form.
func (c *Conditions) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		return atLine(node, "must be a mapping from a source to the text that it must have, such as json:/type: url_verification")
	}
	all := make(Conditions, len(node.Content)/2)
	for i := range all {
		if err := all[i].from.UnmarshalYAML(node.Content[2*i]); err != nil {
			return err
		}
		if err := all[i].unmarshal(node.Content[2*i+1]); err != nil {
			return err
		}
	}
	*c = all
	return nil
}

func (c *condition) unmarshal(node *yaml.Node) error {
	if key, value, ok := onlyEntry(node); ok && key == "present" {
		if value.ShortTag() != "!!bool" {
			return atLine(value, "must be true or false")
		}
		c.presence = value.Value
		return nil
	}
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode && len(node.Content) > 0 {
		items = node.Content
	}
	c.want = make([]Expected, len(items))
	for i, item := range items {
		if err := c.want[i].UnmarshalYAML(item); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalYAML reads the written form.
func (e *Expected) UnmarshalYAML(node *yaml.Node) error {
	if key, value, ok := onlyEntry(node); ok {
		switch {
		case key == "secret" && value.Value != "":
			e.secret = value.Value
			return nil
		case key == "url" && value.Value == "registered":
			e.url = true
			return nil
		}
		return atLine(node, "is unknown: "+wantedExpected)
	}
	switch tag := node.ShortTag(); {
	case node.Kind != yaml.ScalarNode:
		return atLine(node, "is %s: %s", kindName(node), wantedExpected)
	case tag == "!!null" || node.Value == "":
		return atLine(node, "is empty: "+wantedExpected)
	case tag != "!!str" && tag != "!!bool" && tag != "!!int":
		return atLine(node, "must be in quotes")
	}
	e.text = node.Value
	return nil
}

// onlyEntry is the key and the value of a mapping of one entry.
func onlyEntry(node *yaml.Node) (string, *yaml.Node, bool) {
	if node.Kind != yaml.MappingNode || len(node.Content) != 2 {
		return "", nil, false
	}
	return node.Content[0].Value, node.Content[1], true
}

// secrets lists the kinds of secrets that the conditions name.
func (c Conditions) secrets() []string {
	var kinds []string
	for _, one := range c {
		kinds = append(kinds, secretsOf(one.want)...)
	}
	return kinds
}

func secretsOf(all []Expected) []string {
	var kinds []string
	for _, e := range all {
		if e.secret != "" {
			kinds = append(kinds, e.secret)
		}
	}
	return kinds
}
