package providers

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

const deliveriesDir = "fixtures/deliveries"

// fixtureSeed is what keys are made of that no fixture gives.
const fixtureSeed = "plugfn-example-secret"

// DeliveryFixture is a delivery as a provider sends it, with what has to come
// of it. It is fixtures/deliveries/<name>.yaml in a pack's folder.
type DeliveryFixture struct {
	Name      string          `yaml:"-"`      // of the file, without its ending
	Source    string          `yaml:"source"` // where the provider published it
	Request   DeliveryRequest `yaml:"request"`
	Secret    string          `yaml:"secret"`    // with which it is signed; not written: one that is made
	Secrets   []string        `yaml:"secrets"`   // several of them, such as those of other kinds, as kind:secret
	At        time.Time       `yaml:"at"`        // when it was sent
	Signature string          `yaml:"signature"` // text at the signature's place, where the provider published it; not written: to be signed
	Pending   bool            `yaml:"pending"`   // the endpoint is not confirmed yet
	Expect    DeliveryExpect  `yaml:"expect"`
	webhooks  *Webhooks
	signer    *Signer
}

// DeliveryRequest is the request of a fixture.
type DeliveryRequest struct {
	Method   string            `yaml:"method"` // not written: POST
	Path     string            `yaml:"path"`   // with a query; not written: /webhooks/<provider>
	URL      string            `yaml:"url"`    // the endpoint's address as the provider knows it; not written: https://hooks.example.com and the path
	Headers  map[string]string `yaml:"headers"`
	Body     string            `yaml:"body"`
	BodyFile string            `yaml:"body_file"` // beside the fixture, instead of body
}

// DeliveryExpect is all that has to come of a delivery: what is not written
// has to be absent.
type DeliveryExpect struct {
	EventExpect
	Verified  string           `yaml:"verified"`  // not written: a handshake without a signature
	Events    []EventExpect    `yaml:"events"`    // of a batch, instead of the one event
	Empty     bool             `yaml:"empty"`     // a batch without items, which is a ping
	Handshake *HandshakeExpect `yaml:"handshake"` // instead of an event
	Answer    *HandshakeExpect `yaml:"answer"`    // what the sender is told; not written: 200 and nothing
}

// EventExpect is one event that has to come of a delivery.
type EventExpect struct {
	Event        string            `yaml:"event"`
	Type         string            `yaml:"type"`
	ID           string            `yaml:"id"`
	Account      string            `yaml:"account"`
	Subject      string            `yaml:"subject"`
	PartitionKey string            `yaml:"partition_key"`
	Time         time.Time         `yaml:"time"`
	Cause        string            `yaml:"cause"`        // of the write that it tells of
	ContentType  string            `yaml:"content_type"` // not written: application/json
	Headers      map[string]string `yaml:"headers"`      // :: extension name → value
	Data         string            `yaml:"data"`         // of an item of a batch; not written: not looked at
}

// HandshakeExpect is the answer to a handshake, or to a delivery.
type HandshakeExpect struct {
	Status  int               `yaml:"status"`
	Body    string            `yaml:"body"`
	Headers map[string]string `yaml:"headers"`
	Learn   string            `yaml:"learn"`   // the secret that the sender told
	Confirm string            `yaml:"confirm"` // the address that has to be called
}

// All lists the events that have to come of the delivery: none of a handshake
// or of an empty batch.
func (e *DeliveryExpect) All() []EventExpect {
	switch {
	case e.Handshake != nil, e.Empty:
		return nil
	case e.Events != nil:
		return e.Events
	}
	return []EventExpect{e.EventExpect}
}

// FirstAccount is the account of the first event that has one, "" if none has.
func (e *DeliveryExpect) FirstAccount() string {
	for _, one := range e.All() {
		if one.Account != "" {
			return one.Account
		}
	}
	return ""
}

// DeliveryFixtures reads the pack's deliveries, in the order of their names.
func (p *Pack) DeliveryFixtures() ([]DeliveryFixture, error) {
	names, err := fs.Glob(p.dir, path.Join(deliveriesDir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing deliveries: %w", err)
	}
	var all []DeliveryFixture
	var problems []error
	var signer *Signer
	if p.Webhooks != nil {
		signer = p.Webhooks.NewSigner(nil, NewSecret([]byte(fixtureSeed)))
	}
	for _, name := range names {
		f, err := p.deliveryFixture(name, signer)
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

func (p *Pack) deliveryFixture(file string, signer *Signer) (DeliveryFixture, error) {
	f := DeliveryFixture{Name: strings.TrimSuffix(path.Base(file), ".yaml"), webhooks: p.Webhooks}
	data, err := readFile(p.dir, file)
	if err != nil {
		return f, fmt.Errorf("reading a delivery: %w", err)
	}
	d := readYAML(path.Join(p.Name, file), data, &f)
	if f.webhooks == nil {
		d.report("", "the pack has no webhooks")
		return f, d.err()
	}
	f.check(d.report)
	f.fill(p.Name)
	if name := f.Request.BodyFile; name != "" {
		body, err := readFile(p.dir, path.Join(deliveriesDir, path.Base(name)))
		if err != nil {
			d.report("request.body_file", "reading it: %v", err)
		}
		f.Request.Body = string(body)
	}
	var secrets []Secret
	for _, text := range f.Secrets {
		secrets = append(secrets, NewSecret([]byte(text)))
	}
	f.signer = signer.For(secrets)
	return f, d.err()
}

// fill puts in what is not written.
func (f *DeliveryFixture) fill(provider string) {
	if f.Request.Method == "" {
		f.Request.Method = http.MethodPost
	}
	if f.Request.Path == "" {
		f.Request.Path = "/webhooks/" + provider
	}
	if f.Request.URL == "" {
		path, _, _ := strings.Cut(f.Request.Path, "?")
		f.Request.URL = "https://hooks.example.com" + path
	}
	if f.Secret != "" {
		f.Secrets = append([]string{f.Secret}, f.Secrets...)
	}
	if f.Expect.ContentType == "" && f.Expect.Event != "" && f.Request.Body+f.Request.BodyFile != "" {
		f.Expect.ContentType = jsonType
	}
	for i := range f.Expect.Events {
		f.Expect.Events[i].ContentType = jsonType
	}
}

func (f *DeliveryFixture) check(r report) {
	if f.At.IsZero() {
		r("at", "is missing: when the delivery was sent")
	}
	if f.Request.Body != "" && f.Request.BodyFile != "" {
		r("request", "has a body and a body_file, it can have one of both")
	}
	if _, err := url.ParseRequestURI(f.Request.Path); err != nil && f.Request.Path != "" {
		r("request.path", "is not a path such as /webhooks/github")
	}
	e := f.Expect
	if e.Verified != "" || e.Handshake == nil {
		checkWord("expect.verified", e.Verified, r, "body+time", "body", "origin", "none")
	}
	outcomes := 0
	for _, there := range []bool{e.Event != "", e.Events != nil, e.Empty, e.Handshake != nil} {
		if there {
			outcomes++
		}
	}
	if outcomes != 1 {
		r("expect", "needs one of event, events, empty and handshake")
	}
}

// Signer signs the delivery with the fixture's secrets, or such that are made.
func (f DeliveryFixture) Signer() *Signer { return f.signer }

// Check is what the endpoint knows that the delivery came to.
func (f DeliveryFixture) Check() Check {
	none := slices.ContainsFunc(f.webhooks.Verifiers, func(v *Verifier) bool { return v.Scheme == "none" })
	return Check{
		Secrets: f.signer.Secrets(), URL: f.Request.URL, Keys: f.signer, Caller: f.signer, AllowNone: none, Pending: f.Pending,
	}
}

// Delivery makes the request, received at now. It has no signature but a
// published one, which [Signer.Sign] replaces.
func (f DeliveryFixture) Delivery(now time.Time) (*Delivery, error) {
	d := f.unsigned(now)
	if f.Signature == "" {
		return d, nil
	}
	in := &inspection{w: f.webhooks, d: d, c: Check{Secrets: f.signer.Secrets(), URL: f.Request.URL}}
	v := f.signer.verifierFor(in)
	if v == nil || len(v.Signature.From) == 0 {
		return nil, errors.New("no verifier has a place for the published signature")
	}
	if t := v.Timestamp; t != nil && !v.sharesPlace() {
		if err := in.put(t.From, keyValue(t.Pick, writeTime(f.At, t.Format))); err != nil {
			return nil, err
		}
	}
	return d, in.put(v.Signature.From[0], f.Signature)
}

// Signed makes the request, received when it was sent, with its signature.
func (f DeliveryFixture) Signed() (*Delivery, error) {
	d, err := f.Delivery(f.At)
	if err == nil && f.Signature == "" && f.Expect.Verified != "" {
		err = f.signer.Sign(d, f.Request.URL)
	}
	return d, err
}

func (f DeliveryFixture) unsigned(now time.Time) *Delivery {
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
	return d
}
