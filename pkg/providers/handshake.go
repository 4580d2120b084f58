package providers

import (
	"net/http"

	"go.yaml.in/yaml/v3"
)

// maxEcho is the longest text in bytes that a handshake echoes. With the
// charset it is a security control: what is echoed can be neither a document
// nor a script nor a message worth signing.
const maxEcho = 256

// Conditions are texts that a delivery must have. In YAML they are a mapping
// from source to text: {"json:/type": url_verification}.
type Conditions []condition

type condition struct {
	from Source
	text string
}

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
		text, err := scalarText(node.Content[2*i+1])
		if err != nil {
			return err
		}
		all[i].text = text
	}
	*c = all
	return nil
}

// HandshakeReply is how a handshake is answered.
type HandshakeReply struct {
	Status      int
	ContentType string // "" when there is no body
	Body        []byte
}

// Handshake tells whether the delivery is a handshake and how to answer it. One
// whose text must not be echoed gets no answer here, and no event from Event.
func (r *Reading) Handshake() (*HandshakeReply, bool) {
	h := r.handshake()
	if h == nil {
		return nil, false
	}
	reply := &HandshakeReply{Status: h.Respond.Status}
	if reply.Status == 0 {
		reply.Status = http.StatusOK
	}
	if h.Respond.Text.IsZero() {
		return reply, true
	}
	text, ok := r.get(h.Respond.Text)
	if !ok || !isEchoable(text) {
		return nil, false
	}
	reply.ContentType, reply.Body = "text/plain; charset=utf-8", []byte(text)
	return reply, true
}

// handshake is the declared handshake that the delivery is, or nil.
func (r *Reading) handshake() *Handshake {
	for _, h := range r.webhooks.Handshakes {
		if r.meets(h.When) {
			return h
		}
	}
	return nil
}

func (r *Reading) meets(all Conditions) bool {
	for _, c := range all {
		if text, ok := r.get(c.from); !ok || text != c.text {
			return false
		}
	}
	return true
}

// isEchoable tells a short token from anything that could mean something.
func isEchoable(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case isAlphanumeric(c), c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return text != "" && len(text) <= maxEcho
}
