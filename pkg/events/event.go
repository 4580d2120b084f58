package events

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Verified says how much of an event its sender's signature vouches for.
type Verified string

// The levels, strongest first.
const (
	VerifiedBodyTime Verified = "body+time" // body and time of sending
	VerifiedBody     Verified = "body"      // body
	VerifiedOrigin   Verified = "origin"    // who sent it, not what
	VerifiedNone     Verified = "none"
)

// Event is a CloudEvent 1.0 with PlugFn's extension attributes. Data is the
// provider's payload, byte for byte.
type Event struct {
	ID              string // the sender's delivery id
	Source          string // /plugfn/<provider>/<endpoint>/<connection or _>
	Type            string // reverse-DNS prefix of the pack and the event name
	Subject         string // the provider's object, may be empty
	Time            time.Time
	DataContentType string
	DataSchema      string

	UserID       string
	ConnectionID string
	Provider     string
	EventName    string // the name alone, as in the subject before escaping
	Verified     Verified
	Account      string // the provider's id of the account that the event belongs to
	PartitionKey string
	TraceParent  string
	CausationID  string

	// Extensions holds any further attribute, name → value.
	Extensions map[string]string

	Data []byte
	// DataRef is where the data is, if it is too long for a message: Data is
	// empty then. See [Payloads.Resolve].
	DataRef PayloadRef
}

const (
	specVersion    = "1.0"
	headerPrefix   = "ce-"
	contentType    = "Content-Type"
	structuredType = "application/cloudevents+json"
)

// Msg makes the message that carries e to subject, in binary mode.
func (e *Event) Msg(subject string) *nats.Msg {
	const others = 2 // such as the id that repetitions are told by
	h := make(nats.Header, maxAttributes+len(e.Extensions)+others)
	e.setHeader(h)
	return &nats.Msg{Subject: subject, Header: h, Data: e.Data}
}

// AttributeTraceParent is the header with the trace that an event is part of.
const AttributeTraceParent = headerPrefix + "traceparent"

// maxAttributes is how many attributes an event has at most beside extensions.
const maxAttributes = 20

// setHeader sets the attributes that are not empty. One array holds all values:
// this is done for every delivery.
func (e *Event) setHeader(h nats.Header) {
	values := make([]string, 0, maxAttributes+len(e.Extensions))
	set := func(header, value string) {
		if value == "" {
			return
		}
		values = append(values, escape(value))
		h[header] = values[len(values)-1 : len(values) : len(values)]
	}
	set(headerPrefix+"specversion", specVersion)
	set(headerPrefix+"id", e.ID)
	set(headerPrefix+"source", e.Source)
	set(headerPrefix+"type", e.Type)
	set(headerPrefix+"subject", e.Subject)
	set(headerPrefix+"time", formatTime(e.Time))
	set(headerPrefix+"datacontenttype", e.DataContentType)
	set(headerPrefix+"dataschema", e.DataSchema)
	set(headerPrefix+"userid", e.UserID)
	set(headerPrefix+"connectionid", e.ConnectionID)
	set(headerPrefix+"provider", e.Provider)
	set(headerPrefix+"eventname", e.EventName)
	set(headerPrefix+"verified", string(e.Verified))
	set(headerPrefix+"account", e.Account)
	set(headerPrefix+"partitionkey", e.PartitionKey)
	set(AttributeTraceParent, e.TraceParent)
	set(headerPrefix+"causationid", e.CausationID)
	if e.DataRef != (PayloadRef{}) {
		set(headerPrefix+attributeDataRef, e.DataRef.Subject)
		set(headerPrefix+attributeDataHash, e.DataRef.SHA256)
		set(headerPrefix+attributeDataSize, strconv.FormatInt(e.DataRef.Size, 10))
	}
	for name, value := range e.Extensions {
		set(headerPrefix+name, value)
	}
}

// setAttribute sets the attribute of a name.
func (e *Event) setAttribute(name, value string) error {
	switch name {
	case "specversion":
		if value != specVersion {
			return fmt.Errorf("CloudEvents version %q: only %s is read", value, specVersion)
		}
	case "id":
		e.ID = value
	case "source":
		e.Source = value
	case "type":
		e.Type = value
	case "subject":
		e.Subject = value
	case "time":
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return fmt.Errorf("attribute time: %q is not RFC 3339", value)
		}
		e.Time = t
	case "datacontenttype":
		e.DataContentType = value
	case "dataschema":
		e.DataSchema = value
	case "userid":
		e.UserID = value
	case "connectionid":
		e.ConnectionID = value
	case "provider":
		e.Provider = value
	case "eventname":
		e.EventName = value
	case "verified":
		e.Verified = Verified(value)
	case "account":
		e.Account = value
	case "partitionkey":
		e.PartitionKey = value
	case "traceparent":
		e.TraceParent = value
	case "causationid":
		e.CausationID = value
	case attributeDataRef:
		e.DataRef.Subject = value
	case attributeDataHash:
		e.DataRef.SHA256 = value
	case attributeDataSize:
		size, err := strconv.ParseInt(value, 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("attribute datasize: %q is no number of bytes", value)
		}
		e.DataRef.Size = size
	default:
		if e.Extensions == nil {
			e.Extensions = map[string]string{}
		}
		e.Extensions[name] = value
	}
	return nil
}

// ParseEvent reads a CloudEvent in binary or structured mode. The returned
// event shares body.
func ParseEvent(header nats.Header, body []byte) (Event, error) {
	e := Event{Data: body}
	if strings.HasPrefix(lookup(header, contentType), structuredType) {
		return parseStructured(body)
	}
	for name, values := range header {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), headerPrefix)
		if !ok || len(values) == 0 {
			continue
		}
		value, err := unescape(values[0])
		if err != nil {
			return Event{}, fmt.Errorf("header %s: %w", name, err)
		}
		if err := e.setAttribute(attribute, value); err != nil {
			return Event{}, err
		}
	}
	if e.DataContentType == "" {
		e.DataContentType = lookup(header, contentType)
	}
	return e, e.check()
}

func parseStructured(body []byte) (Event, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return Event{}, fmt.Errorf("structured CloudEvent is not a JSON object: %w", err)
	}
	var e Event
	for name, raw := range members {
		switch name {
		case "data":
			e.Data = raw
			continue
		case "data_base64":
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return Event{}, errors.New("member data_base64 is not a string")
			}
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return Event{}, fmt.Errorf("member data_base64: %w", err)
			}
			e.Data = data
			continue
		}
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			value = string(raw) // integer and boolean attributes, in their canonical form
		}
		if err := e.setAttribute(name, value); err != nil {
			return Event{}, err
		}
	}
	if e.DataContentType == "" {
		e.DataContentType = "application/json"
	}
	// Data that is not JSON travels as a JSON string (CloudEvents JSON format §3.1.1).
	var text string
	if !strings.Contains(e.DataContentType, "json") && json.Unmarshal(e.Data, &text) == nil {
		e.Data = []byte(text)
	}
	return e, e.check()
}

// check asserts the attributes that CloudEvents requires.
func (e *Event) check() error {
	for name, value := range map[string]string{"id": e.ID, "source": e.Source, "type": e.Type} {
		if value == "" {
			return fmt.Errorf("not a CloudEvent: attribute %s is missing", name)
		}
	}
	return nil
}

// HeaderValue is the first value of a header, whatever the case of its name.
func HeaderValue(h nats.Header, name string) string { return lookup(h, name) }

// CarriedHeader is a copy of h without what means something to the broker (and
// would mean it again wherever the copy is sent).
func CarriedHeader(h nats.Header) nats.Header {
	const broker = "nats-"
	kept := make(nats.Header, len(h)+4)
	for name, values := range h {
		if len(name) < len(broker) || !strings.EqualFold(name[:len(broker)], broker) {
			kept[name] = slices.Clone(values)
		}
	}
	return kept
}

// lookup reads a header whatever its case: NATS keeps the case of the sender.
func lookup(h nats.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	for k, v := range h {
		if len(v) > 0 && strings.EqualFold(k, name) {
			return v[0]
		}
	}
	return ""
}

// escape percent-encodes what a NATS header would lose or break: everything
// but printable ASCII, and space, double quote and percent (CloudEvents NATS
// binding, header values).
func escape(s string) string {
	clean := true
	for i := range len(s) {
		if mustEscape(s[i]) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; mustEscape(c) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func mustEscape(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	v, err := url.PathUnescape(s)
	if err != nil {
		return "", fmt.Errorf("bad percent-encoding: %w", err)
	}
	return v, nil
}
