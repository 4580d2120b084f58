package providers

import (
	"hash"

	"go.yaml.in/yaml/v3"
)

// Message is what a signature is made over. In YAML it is a list of parts, put
// together without separators: a literal text, {ts: raw} for the timestamp as
// the delivery bears it, {body: raw} for the body byte for byte.
type Message []messagePart

type messagePart struct {
	kind    partKind
	literal string
}

type partKind int

const (
	partLiteral partKind = iota
	partTime
	partBody
)

const allowedParts = "want a text, {ts: raw} or {body: raw}"

// UnmarshalYAML reads the written form.
func (m *Message) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		return atLine(node, "must be a list of parts: "+allowedParts)
	}
	parts := make(Message, len(node.Content))
	for i, item := range node.Content {
		var err error
		if parts[i], err = parsePart(item); err != nil {
			return err
		}
	}
	*m = parts
	return nil
}

func parsePart(node *yaml.Node) (messagePart, error) {
	if node.Kind != yaml.MappingNode {
		text, err := scalarText(node)
		return messagePart{literal: text}, err
	}
	if len(node.Content) == 2 && node.Content[1].Value == "raw" {
		switch node.Content[0].Value {
		case "ts":
			return messagePart{kind: partTime}, nil
		case "body":
			return messagePart{kind: partBody}, nil
		}
	}
	return messagePart{}, atLine(node, "is an unknown part: "+allowedParts)
}

// has tells whether a part of the kind is in m.
func (m Message) has(kind partKind) bool {
	for _, p := range m {
		if p.kind == kind {
			return true
		}
	}
	return false
}

// write feeds the message of a delivery into h.
func (m Message) write(h hash.Hash, ts string, body []byte) {
	for _, p := range m {
		switch p.kind {
		case partLiteral:
			h.Write([]byte(p.literal))
		case partTime:
			h.Write([]byte(ts))
		case partBody:
			h.Write(body)
		}
	}
}
