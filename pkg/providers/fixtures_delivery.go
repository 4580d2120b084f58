package providers

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

const deliveriesDir = "fixtures/deliveries"

// DeliveryFixture is a delivery as a provider sends it, with what has to come
// of it. It is fixtures/deliveries/<name>.yaml in a pack's folder.
type DeliveryFixture struct {
	Name      string          `yaml:"-"` // of the file, without its ending
	Request   DeliveryRequest `yaml:"request"`
	Secret    string          `yaml:"secret"`    // with which it is signed
	At        time.Time       `yaml:"at"`        // when it was sent
	Signature string          `yaml:"signature"` // value of the signature header, where the provider published it; not written: to be signed
	Expect    DeliveryExpect  `yaml:"expect"`
	webhooks  *Webhooks
}

// DeliveryRequest is the request of a fixture.
type DeliveryRequest struct {
	Method   string            `yaml:"method"` // not written: POST
	Path     string            `yaml:"path"`   // with a query; not written: /webhooks/<provider>
	Headers  map[string]string `yaml:"headers"`
	Body     string            `yaml:"body"`
	BodyFile string            `yaml:"body_file"` // beside the fixture, instead of body
}

// DeliveryExpect is all that has to come of a delivery: what is not written
// has to be absent.
type DeliveryExpect struct {
	Verified     string            `yaml:"verified"`
	Event        string            `yaml:"event"`
	Type         string            `yaml:"type"`
	ID           string            `yaml:"id"`
	Account      string            `yaml:"account"`
	Subject      string            `yaml:"subject"`
	PartitionKey string            `yaml:"partition_key"`
	Time         time.Time         `yaml:"time"`
	ContentType  string            `yaml:"content_type"` // not written: application/json
	Headers      map[string]string `yaml:"headers"`      // :: extension name → value
	Handshake    *HandshakeExpect  `yaml:"handshake"`    // instead of an event
}

// HandshakeExpect is the answer to a handshake.
type HandshakeExpect struct {
	Status int    `yaml:"status"`
	Body   string `yaml:"body"`
}

// DeliveryFixtures reads the pack's deliveries, in the order of their names.
func (p *Pack) DeliveryFixtures() ([]DeliveryFixture, error) {
	names, err := fs.Glob(p.dir, path.Join(deliveriesDir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing deliveries: %w", err)
	}
	var all []DeliveryFixture
	var problems []error
	for _, name := range names {
		f, err := p.deliveryFixture(name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, f)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return all, nil
}

func (p *Pack) deliveryFixture(file string) (DeliveryFixture, error) {
	f := DeliveryFixture{Name: strings.TrimSuffix(path.Base(file), ".yaml"), webhooks: p.Webhooks}
	data, err := readFile(p.dir, file)
	if err != nil {
		return f, fmt.Errorf("reading a delivery: %w", err)
	}
	d := readYAML(path.Join(p.Name, file), data, &f)
	f.check(d.report)
	if f.Request.Method == "" {
		f.Request.Method = http.MethodPost
	}
	if f.Request.Path == "" {
		f.Request.Path = "/webhooks/" + p.Name
	}
	if f.Expect.ContentType == "" && f.Expect.Handshake == nil {
		f.Expect.ContentType = jsonType
	}
	if name := f.Request.BodyFile; name != "" {
		body, err := readFile(p.dir, path.Join(deliveriesDir, path.Base(name)))
		if err != nil {
			d.report("request.body_file", "reading it: %v", err)
		}
		f.Request.Body = string(body)
	}
	return f, d.err()
}

func (f *DeliveryFixture) check(r report) {
	if f.webhooks == nil {
		r("", "the pack has no webhooks")
	}
	if f.Secret == "" {
		r("secret", "is missing: the one that the delivery is signed with")
	}
	if f.At.IsZero() {
		r("at", "is missing: when the delivery was sent")
	}
	if (f.Request.Body == "") == (f.Request.BodyFile == "") {
		r("request", "needs either body or body_file")
	}
	if _, err := url.ParseRequestURI(f.Request.Path); err != nil && f.Request.Path != "" {
		r("request.path", "is not a path such as /webhooks/github")
	}
	e := f.Expect
	checkWord("expect.verified", e.Verified, r, "body+time", "body", "origin")
	switch {
	case e.Handshake == nil && e.Event == "":
		r("expect", "needs either event or handshake")
	case e.Handshake != nil && (e.Event != "" || e.ID != ""):
		r("expect", "has an event and a handshake, a delivery is one of both")
	}
}

// Delivery makes the request, received at now. It has no signature but a
// published one, which [Webhooks.Sign] replaces.
func (f DeliveryFixture) Delivery(now time.Time) *Delivery {
	u, _ := url.ParseRequestURI(f.Request.Path) // checked when it was read
	d := &Delivery{
		Method:     f.Request.Method,
		URL:        u,
		Header:     http.Header{},
		Body:       []byte(f.Request.Body),
		ReceivedAt: now,
	}
	for name, value := range f.Request.Headers {
		d.Header.Set(name, value)
	}
	if f.Signature != "" {
		v := f.webhooks.Verifiers[0]
		v.Timestamp.write(d.Header, f.At)
		d.Header.Set(v.Signature.From.name, f.Signature)
	}
	return d
}
