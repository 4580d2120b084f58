package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// deliveryCheck is a delivery and what it is to be checked with.
type deliveryCheck struct {
	pack       *providers.Pack
	secrets    []providers.Secret
	keys       *keyFiles
	registered string // "": not known
	pending    bool   // the provider has not confirmed the endpoint
	request    *rawRequest
	at         time.Time
}

// verification is what came of a check.
type verification struct {
	Verified bool            `json:"verified"`
	Result   string          `json:"result"` // event, handshake, unparsable, or the reason of the refusal
	Provider string          `json:"provider"`
	Level    events.Verified `json:"level,omitempty"`
	Detail   string          `json:"detail,omitempty"`
	At       time.Time       `json:"at"`
	From     *time.Time      `json:"in_time_from,omitempty"` // when its own time would have been accepted
	Until    *time.Time      `json:"in_time_until,omitempty"`
	InTime   *bool           `json:"verified_in_time,omitempty"` // whether it would have been then
	ID       string          `json:"id,omitempty"`
	Event    string          `json:"event,omitempty"`
	Type     string          `json:"type,omitempty"`
	Subject  string          `json:"subject,omitempty"`
	Account  string          `json:"account,omitempty"`
	Time     *time.Time      `json:"time,omitempty"`
	Events   int             `json:"events,omitempty"` // of a batch: how many
	Bytes    int             `json:"bytes"`
	Remark   string          `json:"remark,omitempty"`
}

const (
	resultEvent      = "event"
	resultHandshake  = "handshake"
	resultUnparsable = "unparsable"
	resultType       = "content_type"
)

// verify does what the ingress does, in the same order.
func (c *deliveryCheck) verify() *verification {
	v := &verification{Provider: c.pack.Name, At: c.at.UTC(), Bytes: len(c.request.body)}
	if e := c.request.header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		v.Result, v.Detail = "content_encoding", "the body is encoded as "+clip(e, 40)+", and the ingress takes none that is"
		return v
	}
	d := c.delivery(c.at)
	if _, ok := c.pack.Webhooks.UnsignedHandshake(d, c.known()); ok {
		v.Verified, v.Level, v.Result, v.Detail = true, events.VerifiedNone, resultHandshake, "it is answered without a signature, and makes no event"
		return v
	}
	if d.Method != http.MethodPost {
		v.Result, v.Detail = "method", "a "+clip(d.Method, 20)+" is no delivery, and this one no handshake"
		return v
	}
	verdict, err := c.verdict(d)
	if err != nil {
		c.refuse(v, err)
		return v
	}
	if len(d.Body) < v.Bytes {
		v.Remark = "it is genuine without the line break at the end of the file"
	}
	v.Verified, v.Level, v.Bytes = true, verdict.Level, len(d.Body)
	v.read(c.pack, d)
	return v
}

func (c *deliveryCheck) delivery(at time.Time) *providers.Delivery {
	d := &providers.Delivery{
		Method: c.request.method, URL: c.request.url, Header: c.request.header, Body: c.request.body, ReceivedAt: at,
	}
	return d
}

// known is what an endpoint would know.
func (c *deliveryCheck) known() providers.Check {
	return providers.Check{Secrets: c.secrets, Keys: c.keys, URL: c.registered, Pending: c.pending, AllowNone: true}
}

// verdict is that of the pack. Where nothing says whether the line break at the
// end is the body's, both are tried; d then has the body that is genuine.
func (c *deliveryCheck) verdict(d *providers.Delivery) (providers.Verdict, error) {
	check := c.known()
	ctx := context.Background() // nothing is called: there are no keys to fetch
	verdict, err := c.pack.Webhooks.Verify(ctx, d, check)
	body, ok := c.request.trimmed()
	if !ok || reasonOf(err) != providers.ReasonMismatch {
		return verdict, err
	}
	whole := d.Body
	d.Body = body
	if verdict, trimmed := c.pack.Webhooks.Verify(ctx, d, check); trimmed == nil {
		return verdict, nil
	}
	d.Body = whole
	return verdict, err
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	var refused *providers.VerifyError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return "unverified"
}

// read says what the ingress would make of a genuine delivery.
func (v *verification) read(pack *providers.Pack, d *providers.Delivery) {
	reading, err := pack.Webhooks.Read(d)
	if err == nil {
		if reading.IsHandshake() {
			v.Result = resultHandshake
			return
		}
		var found []providers.Normalized
		if found, err = reading.Events(); err == nil {
			v.events(found)
			return
		}
	}
	if errors.Is(err, providers.ErrContentType) {
		v.Verified, v.Result = false, resultType // answered 415
		v.Detail = fmt.Sprintf("%q: %v", clip(d.Header.Get("Content-Type"), 60), err)
		return
	}
	v.Result, v.Detail = resultUnparsable, err.Error()+": the ingress keeps it as a dead letter and answers 200"
}

// events says which events a delivery makes, and what the first of them is.
func (v *verification) events(found []providers.Normalized) {
	v.Result, v.Events = resultEvent, len(found)
	if len(found) == 0 {
		v.Detail = "an empty batch: it makes no event"
		return
	}
	n := &found[0]
	v.ID, v.Event, v.Type, v.Subject, v.Account = n.ID, n.Name, n.Type, n.Subject, n.Account
	if !n.Time.IsZero() {
		v.Time = &n.Time
	}
	if len(found) > 1 {
		v.Detail = fmt.Sprintf("a batch of %d events, of which this is the first", len(found))
	}
}

// refuse says why.
func (c *deliveryCheck) refuse(v *verification, err error) {
	v.Result = reasonOf(err)
	switch v.Result {
	case providers.ReasonStale, providers.ReasonFuture:
		c.untimely(v)
	case providers.ReasonMissingHeader:
		v.Detail = "the request has none of what a signature is looked for in: " + strings.Join(c.missing(), ", ")
	case providers.ReasonDuplicateHeader:
		v.Detail = "a header that belongs to the signature is there twice"
	case providers.ReasonMalformed:
		v.Detail = "the signature or its time is not written as " + c.pack.Display.Name + " writes it"
	case providers.ReasonMismatch:
		v.Detail = "the secret does not make this signature of this request: another secret, or another body, to the byte"
	case providers.ReasonNoSecret:
		v.Detail = "the secret is not in the form that " + c.pack.Display.Name + " gives"
		for _, secret := range c.secrets {
			if problem := c.pack.Webhooks.CheckSecret(secret); problem != nil {
				v.Detail += ": " + problem.Error()
			}
		}
		if kinds := c.pack.Webhooks.SecretKinds(); len(kinds) > 1 {
			v.Detail += "; there are secrets of the kinds " + kindNames(kinds) + ": --secret KIND=FILE"
		}
	case providers.ReasonNoURL:
		v.Detail = "the signature covers the URL that " + c.pack.Display.Name + " has: give it with --url, to the letter"
	case providers.ReasonNoKeys:
		v.Detail = "the signer publishes its key: give it with --cert-file (a certificate) or --jwks-file (a key set)"
	case providers.ReasonUnknownKey:
		v.Detail = "the key set has no key of that id, or the certificate is not from where the pack allows it, or not good at that time"
	case providers.ReasonNoCall:
		v.Detail = c.pack.Display.Name + " has to be asked whether it is its delivery, which is not done here"
	default:
		v.Detail = err.Error()
	}
}

// missing are the headers of signatures that the request does not have.
func (c *deliveryCheck) missing() []string {
	var all []string
	for _, v := range c.pack.Webhooks.Verifiers {
		for _, s := range v.Signature.From {
			name := strings.TrimPrefix(s.String(), "header:")
			if c.request.header.Get(name) == "" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// untimely finds out when the delivery would have been in time, and whether
// it would have been accepted then. It asks the same check as of other times, so
// that it holds for every way in which a pack says what is signed when.
func (c *deliveryCheck) untimely(v *verification) {
	from := c.earliest(func(reason string) bool { return reason != providers.ReasonFuture })
	after := c.earliest(func(reason string) bool { return reason == providers.ReasonStale })
	until := after.Add(-time.Second)
	if until.Before(from) {
		v.Detail = "its time is not one that can be read" // no second at which it is neither
		return
	}
	v.From, v.Until = &from, &until
	_, err := c.verdict(c.delivery(from.Add(until.Sub(from) / 2)))
	inTime := err == nil
	v.InTime = &inTime
	if c.at.After(until) {
		v.Detail = fmt.Sprintf("too old by %s", round(c.at.Sub(until)))
	} else {
		v.Detail = fmt.Sprintf("too far ahead by %s", round(from.Sub(c.at)))
	}
	if inTime {
		v.Detail += ": as of its own timestamp it would verify"
	} else {
		v.Detail += fmt.Sprintf(", and as of its own timestamp it would not verify either (%s)", reasonOf(err))
	}
}

// earliest is the first second of two hundred years as of which the check gives
// a reason that is wanted, which all later ones give as well.
func (c *deliveryCheck) earliest(wanted func(reason string) bool) time.Time {
	low, high := int64(0), time.Date(2170, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	for low < high {
		middle := low + (high-low)/2
		_, err := c.verdict(c.delivery(time.Unix(middle, 0)))
		if wanted(reasonOf(err)) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return time.Unix(low, 0).UTC()
}

func round(d time.Duration) time.Duration { return d.Round(time.Second) }

// failure is that of a delivery that the ingress would refuse.
func (v *verification) failure() *failure {
	f := &failure{exit: exitFailure, what: "the request is refused: " + v.Result, cause: errors.New(v.Detail)}
	if v.InTime != nil && *v.InTime {
		f.fix = "check it as of when it came: --at " + v.From.Add(v.Until.Sub(*v.From)/2).Format(time.RFC3339)
	}
	return f
}

func (v *verification) fields() []field {
	result := done("verified: " + string(v.Level))
	switch {
	case !v.Verified:
		result = broken("refused: " + v.Result)
	case v.Result != resultEvent:
		result += ", " + v.Result
	}
	fields := []field{
		{"result", result},
		{"detail", safe(v.Detail)},
		{"as of", v.At.Format(time.RFC3339)},
		{"id", safe(v.ID)},
		{"event", safe(v.Event)},
		{"type", safe(v.Type)},
		{"subject", safe(v.Subject)},
		{"account", safe(v.Account)},
	}
	if v.Time != nil {
		fields = append(fields, field{"time", v.Time.Format(time.RFC3339)})
	}
	if v.From != nil {
		fields = append(fields, field{"in time", v.From.Format(time.RFC3339) + " to " + v.Until.Format(time.RFC3339)})
	}
	return append(fields, field{"body", fmt.Sprintf("%d bytes", v.Bytes)}, field{"remark", v.Remark})
}
