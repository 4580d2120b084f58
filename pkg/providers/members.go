package providers

import (
	"bytes"
	"crypto/hmac"
	"encoding/json"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Members are those of a JSON object, in their order. In YAML they are a mapping
// from the name to
//
//	a source                  such as json:/challenge or text:ok
//	a number, true or false   itself
//	{secret: KIND}            in a call: the endpoint's secret of the kind
//	{body: json}              in a call: the body, which is JSON
//	{hmac: {of: …}}           in an answer: what the endpoint's secret makes of a text, see MAC
type Members []member

// CallBody is the JSON object that a provider is asked with.
type CallBody = Members

type member struct {
	name    string
	literal json.RawMessage
	source  Source
	secret  string
	body    bool
	mac     *MAC
}

// MAC is a signature that an answer bears, to show that the endpoint knows the
// secret. What is signed is a short token, or this would sign anything for
// anybody.
type MAC struct {
	Of       Source `yaml:"of"`
	Hash     string `yaml:"hash"`     // sha1, sha256, sha512
	Key      string `yaml:"key"`      // how the secret is written; not written: utf8
	Secret   string `yaml:"secret"`   // its kind; not written: the first
	Prefix   string `yaml:"prefix"`   // in front of the encoded bytes
	Encoding string `yaml:"encoding"` // hex, base64, base64url
}

const wantedMember = "want a source, a number, true, false, {secret: KIND}, {body: json} or {hmac: {of: SOURCE, …}}"

// UnmarshalYAML reads the written form.
func (m *Members) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		return atLine(node, "must be a mapping from a member's name to its value: "+wantedMember)
	}
	all := make(Members, len(node.Content)/2)
	for i := range all {
		name, err := scalarText(node.Content[2*i])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all[:i], func(m member) bool { return m.name == name }) {
			return atLine(node.Content[2*i], "%s is given twice", clip(name, 60))
		}
		all[i].name = name
		if err := all[i].unmarshal(node.Content[2*i+1]); err != nil {
			return err
		}
	}
	*m = all
	return nil
}

func (m *member) unmarshal(node *yaml.Node) error {
	if key, value, ok := onlyEntry(node); ok {
		switch {
		case key == "secret" && value.Kind == yaml.ScalarNode:
			m.secret = value.Value
			return nil
		case key == "body" && value.Value == "json":
			m.body = true
			return nil
		case key == "hmac":
			m.mac = &MAC{}
			return decodePart(value, m.mac)
		}
		return atLine(node, "is unknown: "+wantedMember)
	}
	switch node.ShortTag() {
	case "!!str":
		return m.source.UnmarshalYAML(node)
	case "!!bool", "!!int":
		return decodeJSON(node, &m.literal)
	default:
		return atLine(node, "is unknown: "+wantedMember)
	}
}

func (m Members) hasBody() bool {
	return slices.ContainsFunc(m, func(m member) bool { return m.body })
}

func (m Members) hasSource(s Source) bool {
	return slices.ContainsFunc(m, func(m member) bool { return m.source.String() == s.String() })
}

func (m Members) secrets() []string {
	var kinds []string
	for _, one := range m {
		if one.secret != "" {
			kinds = append(kinds, one.secret)
		}
		if one.mac != nil {
			kinds = append(kinds, one.mac.Secret)
		}
	}
	return kinds
}

// encode writes the object of a call. What it names has to be there.
func (m Members) encode(in *inspection) (json.RawMessage, error) {
	return m.object(func(one *member) (json.RawMessage, error) {
		switch {
		case one.body:
			if _, err := parseJSON(in.d.Body); err != nil {
				return nil, refused(ReasonMalformed)
			}
			return in.d.Body, nil
		case one.secret != "":
			text, err := (&messagePart{kind: partSecret, text: one.secret}).resolve(in)
			if err != nil {
				return nil, err
			}
			return encodeJSON(text)
		default:
			text, err := in.only(one.source)
			if err != nil {
				return nil, err
			}
			return encodeJSON(text)
		}
	})
}

// object writes the members with what value makes of those that are not
// literal.
func (m Members) object(value func(*member) (json.RawMessage, error)) (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range m {
		v, err := m[i].literal, error(nil)
		if v == nil {
			if v, err = value(&m[i]); err != nil {
				return nil, err
			}
		}
		name, err := encodeJSON(m[i].name)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// sign makes the signature of a text with the secret that the request was signed
// with, else with the endpoint's first.
func (m *MAC) sign(in *inspection, proven int, text string) (string, bool) {
	for i := range in.c.Secrets {
		written, ok := in.secret(i, m.Secret)
		if proven >= 0 && proven != i && proven < len(in.c.Secrets) {
			_, same := in.secret(proven, m.Secret)
			ok = ok && !same
		}
		if !ok {
			continue
		}
		key, err := decodeKey(m.Key, written)
		if err != nil {
			continue
		}
		h := hmac.New(newHash(m.Hash), key)
		h.Write([]byte(text))
		return m.Prefix + encode(m.Encoding, h.Sum(nil)), true
	}
	return "", false
}
