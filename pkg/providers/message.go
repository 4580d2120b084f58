package providers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Message is what a signature is made over. In YAML it is a list of parts, put
// together without separators:
//
//	a literal text
//	{ts: raw}                 the timestamp as the delivery bears it
//	{body: raw}               the body, byte for byte
//	{body: sha256hex}         its SHA-256, in hex
//	{body: crc32}             its CRC-32, as a decimal number
//	{body: document}          the JSON: the body, or the one form field, which holds it
//	{method: raw}             POST
//	{url: registered}         the endpoint's address as the provider knows it
//	{url: registered_path}    its path and query
//	{url: requested}          its scheme, host and path with the query of the request
//	{url: requested_with_port} the same with the port written out where it was not, and the other way round
//	{header: NAME}            a header, which has to be there once
//	{json: /pointer}          a value of the JSON
//	{form: NAME}              a field of the form
//	{form: sorted}            all of them: name and value, in the order of the names
//	{query: NAME}             a parameter of the URL
//	{secret: KIND}            the endpoint's secret of the kind
//	{canonical: sns}          the members that Amazon SNS signs, as it writes them
//	{canonical: contentful}   method, path, signed headers and body, as Contentful writes them
type Message []messagePart

type messagePart struct {
	kind   partKind
	text   string // the literal, or what stands behind the colon
	source Source // of a part that is a source
}

type partKind string

const (
	partLiteral   partKind = ""
	partTime      partKind = "ts"
	partBody      partKind = "body"
	partMethod    partKind = "method"
	partURL       partKind = "url"
	partSource    partKind = "source"
	partSorted    partKind = "sorted"
	partSecret    partKind = "secret"
	partCanonical partKind = "canonical"
)

const allowedParts = "want a text, {ts: raw}, {body: raw|sha256hex|crc32|document}, {method: raw}, " +
	"{url: registered|registered_path|requested|requested_with_port}, {header: NAME}, {json: /pointer}, {form: NAME|sorted}, " +
	"{query: NAME}, {secret: KIND} or {canonical: sns|contentful}"

// partWords are the words that a part may hold.
func partWords(kind partKind) []string {
	switch kind {
	case partTime, partMethod:
		return []string{"raw"}
	case partBody:
		return []string{"raw", "sha256hex", "crc32", "document"}
	case partURL:
		return []string{"registered", "registered_path", "requested", "requested_with_port"}
	case partCanonical:
		return []string{"sns", "contentful"}
	default:
		return nil
	}
}

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
		return messagePart{text: text}, err
	}
	key, value, ok := onlyEntry(node)
	unknown := atLine(node, "is an unknown part: "+allowedParts)
	if !ok || value.Kind != yaml.ScalarNode || value.Value == "" {
		return messagePart{}, unknown
	}
	switch kind := partKind(key); kind {
	case partTime, partBody, partMethod, partURL, partCanonical:
		if !slices.Contains(partWords(kind), value.Value) {
			return messagePart{}, unknown
		}
		return messagePart{kind: kind, text: value.Value}, nil
	case partSecret:
		return messagePart{kind: kind, text: value.Value}, nil
	}
	switch {
	case key == "form" && value.Value == "sorted":
		return messagePart{kind: partSorted}, nil
	case !slices.Contains([]string{"header", "json", "form", "query"}, key):
		return messagePart{}, unknown
	}
	source, err := parseSource(key + ":" + value.Value)
	if err != nil {
		return messagePart{}, atLine(value, "%w", err)
	}
	return messagePart{kind: partSource, text: source.String(), source: source}, nil
}

// has tells whether a part of the kind is in m.
func (m Message) has(kind partKind, words ...string) bool {
	return slices.ContainsFunc(m, func(p messagePart) bool {
		return p.kind == kind && (len(words) == 0 || slices.Contains(words, p.text))
	})
}

// hasSource tells whether the text of a source is in m.
func (m Message) hasSource(s Source) bool {
	return slices.ContainsFunc(m, func(p messagePart) bool { return p.kind == partSource && p.source.String() == s.String() })
}

// coversBody tells whether no two bodies make the same m.
func (m Message) coversBody() bool {
	return m.has(partBody, "raw", "sha256hex", "document") || m.has(partSorted) || m.has(partCanonical)
}

// covers tells whether the text of a source decides m.
func (m Message) covers(s Source) bool {
	switch s.kind {
	case sourceJSON, sourceHost, sourceForm, sourcePresent, sourceItem, sourceOuter, sourceHash:
		return m.coversBody() || m.hasSource(s)
	case sourceQuery:
		return m.hasSource(s) || m.has(partURL, "requested", "requested_with_port")
	case sourceHeader:
		return m.hasSource(s) || m.has(partCanonical, "contentful") && s.name == contentfulTime
	default:
		return s.kind == sourceText
	}
}

// write feeds the message of a delivery into h.
func (m Message) write(h io.Writer, in *inspection) error {
	for i := range m {
		if m[i].kind == partBody && m[i].text == "raw" {
			_, _ = h.Write(in.d.Body)
			continue
		}
		if m[i].kind == partBody && m[i].text == "document" {
			r := in.read()
			if r == nil || r.doc == nil || r.form.count > 1 { // what else is in the form is not signed
				return refused(ReasonMalformed)
			}
			_, _ = h.Write(r.doc)
			continue
		}
		if m[i].kind == partCanonical && m[i].text == "contentful" {
			if err := in.contentful(h); err != nil {
				return err
			}
			continue
		}
		text, err := m[i].resolve(in)
		if err != nil {
			return err
		}
		_, _ = io.WriteString(h, text)
	}
	return nil
}

// resolve is the text of a part that is not the body itself.
func (p *messagePart) resolve(in *inspection) (string, error) {
	switch p.kind {
	case partTime:
		return in.stamp, nil
	case partBody:
		if p.text == "crc32" {
			return strconv.FormatUint(uint64(crc32.ChecksumIEEE(in.d.Body)), 10), nil
		}
		sum := sha256.Sum256(in.d.Body)
		return hex.EncodeToString(sum[:]), nil
	case partMethod:
		return in.d.Method, nil
	case partURL:
		return in.url(p.text)
	case partSource:
		return in.only(p.source)
	case partSorted:
		return in.sortedForm()
	case partSecret:
		return in.chosenSecret(p.text)
	case partCanonical:
		return in.sns()
	default:
		return p.text, nil
	}
}

// bytes is the whole message.
func (m Message) bytes(in *inspection) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(in.d.Body) + 128)
	err := m.write(&b, in)
	return b.Bytes(), err
}

// url writes the endpoint's address.
func (in *inspection) url(form string) (string, error) {
	if in.c.URL == "" {
		return "", refused(ReasonNoURL)
	}
	if form == "registered" {
		return in.c.URL, nil
	}
	u, err := url.Parse(in.c.URL)
	if err != nil || u.Host == "" {
		return "", refused(ReasonNoURL)
	}
	if form == "registered_path" {
		return u.RequestURI(), nil
	}
	text := in.c.URL
	if form == "requested_with_port" {
		text = strings.Replace(text, "//"+u.Host, "//"+otherPort(u), 1)
	}
	text, _, _ = strings.Cut(text, "?")
	if in.d.URL != nil && in.d.URL.RawQuery != "" {
		text += "?" + in.d.URL.RawQuery
	}
	return text, nil
}

// otherPort is the host with its scheme's own port if it has none, and without
// a port if it has one.
func otherPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return strings.TrimSuffix(u.Host, ":"+u.Port())
	case u.Scheme == "http":
		return u.Host + ":80"
	default:
		return u.Host + ":443"
	}
}

// sortedForm writes every name and value of the form, in their order. A field
// that is repeated with the same value counts once.
func (in *inspection) sortedForm() (string, error) {
	r := in.read()
	if r == nil || r.contentType != formType {
		return "", refused(ReasonMalformed)
	}
	fields, err := url.ParseQuery(string(in.d.Body))
	if err != nil {
		return "", refused(ReasonMalformed)
	}
	var b strings.Builder
	for _, name := range sortedKeys(fields) {
		values := slices.Clone(fields[name])
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			b.WriteString(name)
			b.WriteString(v)
		}
	}
	return b.String(), nil
}
