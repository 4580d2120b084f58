package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// HeaderMessageID carries the UUID of a Watermill message.
const HeaderMessageID = "Plugfn-Message-Id"

// The metadata under which a [Subscriber] says what the bus knows of a message.
// The name of a NATS header ends at its first colon, so no sender can set one
// of these; a [Publisher] does not send them on. [ReceivedOf] reads them.
const (
	MetaSubject    = metaPrefix + "subject"
	MetaStream     = metaPrefix + "stream"
	MetaSequence   = metaPrefix + "sequence"
	MetaDeliveries = metaPrefix + "deliveries"
	MetaTime       = metaPrefix + "time"

	metaPrefix = "nats:"
)

// headerNameBytes are the bytes of a token of RFC 9110.
const headerNameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

// Received is what the bus, and not the sender, says about a message.
type Received struct {
	Subject    string
	Stream     string
	Sequence   uint64    // in the stream, from 1
	Deliveries uint64    // how often it was delivered with this time, from 1; a message given back unhandled counts
	Time       time.Time // when the stream stored it
}

// ReceivedOf reads what a [Subscriber] noted on m. It fails for a message that
// came from elsewhere.
func ReceivedOf(m *message.Message) (Received, error) {
	sequence, serr := strconv.ParseUint(m.Metadata.Get(MetaSequence), 10, 64)
	deliveries, derr := strconv.ParseUint(m.Metadata.Get(MetaDeliveries), 10, 64)
	at, terr := time.Parse(time.RFC3339Nano, m.Metadata.Get(MetaTime))
	if err := errors.Join(serr, derr, terr); err != nil {
		return Received{}, fmt.Errorf("message %q was not received from a stream: %w", m.UUID, err)
	}
	return Received{
		Subject:    m.Metadata.Get(MetaSubject),
		Stream:     m.Metadata.Get(MetaStream),
		Sequence:   sequence,
		Deliveries: deliveries,
		Time:       at,
	}, nil
}

func (r *Received) note(metadata message.Metadata) {
	metadata[MetaSubject] = r.Subject
	metadata[MetaStream] = r.Stream
	metadata[MetaSequence] = strconv.FormatUint(r.Sequence, 10)
	metadata[MetaDeliveries] = strconv.FormatUint(r.Deliveries, 10)
	metadata[MetaTime] = r.Time.UTC().Format(time.RFC3339Nano)
}

// MessageOf makes a Watermill message of one for NATS, such as [Event.Msg] and
// [Result.Msg] make: its headers become metadata (the first value of each) and
// its body is shared. The UUID is Plugfn-Message-Id, else ce-id, else
// Nats-Msg-Id; it may be empty.
func MessageOf(msg *nats.Msg) *message.Message {
	m := message.NewMessage(messageID(msg.Header), msg.Data)
	m.Metadata = make(message.Metadata, len(msg.Header)+5) // room for what Received notes
	for name, values := range msg.Header {
		if name != HeaderMessageID && len(values) > 0 {
			m.Metadata[name] = values[0]
		}
	}
	return m
}

func messageID(h nats.Header) string {
	if id := h.Get(HeaderMessageID); id != "" {
		return id
	}
	if id, err := unescape(lookup(h, headerPrefix+"id")); err == nil && id != "" {
		return id
	}
	return h.Get(nats.MsgIdHdr)
}

// HeaderOf is the NATS header that carries m: its metadata without what the bus
// noted, and its UUID. [ParseEvent] and [ParseActionRequest] read it.
func HeaderOf(m *message.Message) nats.Header {
	h := make(nats.Header, len(m.Metadata)+1)
	for name, value := range m.Metadata {
		if !strings.HasPrefix(name, metaPrefix) {
			h[name] = []string{value}
		}
	}
	if m.UUID != "" {
		h[HeaderMessageID] = []string{m.UUID}
	}
	return h
}

// checkHeader refuses what would reach a reader changed, or not at all.
func checkHeader(h nats.Header) error {
	for name, values := range h {
		if name == "" || strings.Trim(name, headerNameBytes) != "" {
			return fmt.Errorf("metadata %q: not a header name; use letters, digits and dashes", name)
		}
		for _, v := range values {
			if strings.IndexFunc(v, unicode.IsControl) >= 0 || strings.TrimSpace(v) != v {
				return fmt.Errorf("metadata %s: a header value has no control character and no space at its ends; escape it", name)
			}
		}
	}
	return nil
}

// checkSubject refuses a subject that the broker would misread, keep as a
// literal or take for an outage. Wildcards are whole tokens, > only the last.
func checkSubject(subject string, wildcards bool) error {
	switch {
	case subject == "":
		return errors.New("topic is empty; name a subject")
	case len(subject) > MaxSubject:
		return fmt.Errorf("topic of %d bytes: at most %d are allowed", len(subject), MaxSubject)
	case subject[0] == '$':
		return fmt.Errorf("topic %q: $ begins the broker's own subjects", subject)
	}
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		if wildcards && (token == "*" || token == ">" && i == len(tokens)-1) {
			continue
		}
		if err := checkToken(token); err != nil {
			return fmt.Errorf("topic %q: %w", subject, err)
		}
	}
	return nil
}

func checkToken(token string) error {
	if token == "" {
		return errors.New("a token is empty; remove the extra dot")
	}
	for i := range len(token) {
		switch c := token[i]; {
		case c == '*' || c == '>':
			return fmt.Errorf("token %q has a wildcard where none is allowed", token)
		case c <= ' ' || c == 0x7f:
			return fmt.Errorf("token %q has a space or a control character; use Token", token)
		}
	}
	return nil
}
