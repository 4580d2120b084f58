package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The headers of an action request. All are optional.
const (
	HeaderID          = "Plugfn-Id"           // idempotency key, unique per user
	HeaderConnection  = "Plugfn-Connection"   // id of the connection to use
	HeaderTimeout     = "Plugfn-Timeout"      // Go duration or seconds: time for one attempt
	HeaderDeadline    = "Plugfn-Deadline"     // RFC 3339: no attempt starts after it
	HeaderNotBefore   = "Plugfn-Not-Before"   // RFC 3339: no attempt starts before it
	HeaderMaxAttempts = "Plugfn-Max-Attempts" // 1 to 100
	HeaderDelivery    = "Plugfn-Delivery"     // at-most-once or at-least-once
	HeaderCache       = "Plugfn-Cache"        // Go duration or seconds: a read may be this old; none: it is asked anew
	HeaderMaxPages    = "Plugfn-Max-Pages"    // 1 to 1000: how many pages of a list are joined to the data
	HeaderStream      = "Plugfn-Stream"       // pages: each page is sent to Plugfn-Reply by itself
	HeaderReply       = "Plugfn-Reply"        // inbox that gets the result as well
	HeaderTraceParent = "traceparent"         // W3C trace context
	HeaderCause       = "Plugfn-Cause"        // id of what led to the request, such as a run; at most 64 of A-Z a-z 0-9 _ -

	// HeaderPage numbers, from 1, the pages that are sent by themselves.
	HeaderPage = "Plugfn-Page"

	// HeaderResumed says, on a request that has waited, which message of the
	// stream it was at first.
	HeaderResumed = "Plugfn-Resumed"

	// HeaderUser and HeaderAction hold the full value of a user id or an action
	// name whose token in the subject is a hash. Where they do not match the
	// subject the request is refused: the subject says who asks.
	HeaderUser   = "Plugfn-User"
	HeaderAction = "Plugfn-Action"

	// HeaderReason says, on a dead letter, why it was given up. One of a request
	// that was tried says also how often, how it ended, and the code of the last
	// error.
	HeaderReason    = "Plugfn-Reason"
	HeaderAttempts  = "Plugfn-Attempts"
	HeaderOutcome   = "Plugfn-Outcome"
	HeaderErrorCode = "Plugfn-Error-Code"

	// HeaderDuration is, on a result, its duration_ms. With the outcome in the
	// subject, and attempts and error code as on a dead letter, results can be
	// counted without their bodies.
	HeaderDuration = "Plugfn-Duration-Ms"

	// HeaderWaited is, on a result, its waited_ms; absent for 0.
	HeaderWaited = "Plugfn-Waited-Ms"

	// HeaderRetryOf names, on a request, the one whose dead letter it repeats.
	HeaderRetryOf = "Plugfn-Retry-Of"
)

// Delivery is what a caller prefers for a write whose outcome cannot be known.
type Delivery string

// The delivery preferences. The zero value is AtMostOnce.
const (
	AtMostOnce  Delivery = "at-most-once"
	AtLeastOnce Delivery = "at-least-once"
)

// NoCache as the Cache of a request has the provider asked anew.
const NoCache time.Duration = -1

const (
	noCache     = "none"
	streamPages = "pages"
)

// MaxID is the longest request id in bytes.
const MaxID = 256

// InboxPrefix is the only prefix that Plugfn-Reply may have, so that nobody can
// have a service publish to a subject that he may not publish to himself.
const InboxPrefix = "_INBOX"

// serverReply begins the reply subjects that a server puts in place of those of
// clients in another account. It lets no client name one, and they cannot be
// guessed.
const serverReply = "_R_."

// ActionRequest asks for one execution of an action. Subject and headers of
// the message hold everything but Params, which are its body.
type ActionRequest struct {
	ID           string // empty: derived from the stream sequence
	UserID       string
	Provider     string
	Action       string
	Params       json.RawMessage // a JSON object; checked against the action's schema later
	ConnectionID string          // empty: the user's only connection to the provider
	Timeout      time.Duration   // 0: the action's own
	Deadline     time.Time       // zero: none
	NotBefore    time.Time       // zero: at once
	MaxAttempts  int             // 0: the action's own
	Delivery     Delivery
	Cache        time.Duration // 0: the action's own; NoCache: none
	MaxPages     int           // 0: one
	StreamPages  bool          // needs Reply
	Reply        string
	TraceParent  string
	CausationID  string // of what led to it; where the provider lets PlugFn recognise the write, its events have it as well
}

// Subject is where r is published.
func (r *ActionRequest) Subject() string { return ActionSubject(r.UserID, r.Provider, r.Action) }

// Msg makes the message that carries r to subject.
func (r *ActionRequest) Msg(subject string) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Data = r.Params
	set := func(name, value string) {
		if value != "" {
			msg.Header.Set(name, value)
		}
	}
	set(HeaderID, r.ID)
	set(HeaderConnection, r.ConnectionID)
	set(HeaderDeadline, formatTime(r.Deadline))
	set(HeaderNotBefore, formatTime(r.NotBefore))
	set(HeaderDelivery, string(r.Delivery))
	set(HeaderReply, r.Reply)
	set(HeaderTraceParent, r.TraceParent)
	set(HeaderCause, r.CausationID)
	if r.Timeout > 0 {
		set(HeaderTimeout, r.Timeout.String())
	}
	if r.MaxAttempts > 0 {
		set(HeaderMaxAttempts, strconv.Itoa(r.MaxAttempts))
	}
	switch {
	case r.Cache > 0:
		set(HeaderCache, r.Cache.String())
	case r.Cache < 0:
		set(HeaderCache, noCache)
	}
	if r.MaxPages > 0 {
		set(HeaderMaxPages, strconv.Itoa(r.MaxPages))
	}
	if r.StreamPages {
		set(HeaderStream, streamPages)
	}
	if _, ok := Untoken(Token(r.UserID)); !ok {
		set(HeaderUser, escape(r.UserID))
	}
	if _, ok := unname(Name(r.Action)); !ok {
		set(HeaderAction, escape(r.Action))
	}
	return msg
}

// ParseActionRequest reads a request from a message on an action or call
// subject. On an error, which is an *Error with the code invalid_params, it
// still returns what could be read, so that the caller can be told.
func ParseActionRequest(subject string, header nats.Header, body []byte) (ActionRequest, error) {
	p := requestParser{header: header}
	r := ActionRequest{
		ID:           p.text(HeaderID, MaxID),
		ConnectionID: p.text(HeaderConnection, MaxID),
		Timeout:      p.duration(HeaderTimeout),
		Deadline:     p.time(HeaderDeadline),
		NotBefore:    p.time(HeaderNotBefore),
		MaxAttempts:  p.number(HeaderMaxAttempts, 100),
		Delivery:     p.delivery(),
		Cache:        p.cache(),
		MaxPages:     p.number(HeaderMaxPages, 1000),
		Reply:        p.reply(),
		TraceParent:  lookup(header, HeaderTraceParent),
		CausationID:  p.text(HeaderCause, MaxID),
		Params:       body,
	}
	if len(bytes.TrimSpace(body)) == 0 {
		r.Params = json.RawMessage("{}")
	}
	r.StreamPages = p.stream(r.Reply)
	p.subject(&r, subject)
	if p.err != nil {
		return r, p.err
	}
	return r, nil
}

// Resumed reads HeaderResumed: the sequence of the first message of a request
// that has waited, 0 for one that has not.
func Resumed(header nats.Header) uint64 {
	sequence, err := strconv.ParseUint(lookup(header, HeaderResumed), 10, 64)
	if err != nil {
		return 0
	}
	return sequence
}

// SubjectTokens returns the tokens of user and provider in an action or call
// subject, as they stand there; "_" for what is missing.
func SubjectTokens(subject string) (user, provider string) {
	tokens, _ := actionTokens(subject)
	for len(tokens) < 2 {
		tokens = append(tokens, NoUser)
	}
	return tokens[0], tokens[1]
}

// actionTokens cuts an action or call subject into user, provider and action.
func actionTokens(subject string) (tokens []string, complete bool) {
	rest, ok := strings.CutPrefix(subject, PrefixAction)
	if !ok {
		rest, ok = strings.CutPrefix(subject, PrefixCall)
	}
	if !ok {
		return nil, false
	}
	tokens = strings.SplitN(rest, ".", 3)
	return tokens, len(tokens) == 3
}

// requestParser reads headers and keeps the first thing that is wrong.
type requestParser struct {
	header nats.Header
	err    *Error
}

func (p *requestParser) fail(name string, format string, args ...any) {
	if p.err == nil {
		p.err = Errorf(CodeInvalidParams, "header %s: %s", name, fmt.Sprintf(format, args...))
	}
}

// subject reads who asks for what.
func (p *requestParser) subject(r *ActionRequest, subject string) {
	tokens, complete := actionTokens(subject)
	if !complete && p.err == nil {
		p.err = Errorf(CodeInvalidParams, "subject %q: want %s<user>.<provider>.<action>", subject, PrefixAction)
	}
	for i, token := range tokens {
		switch i {
		case 0:
			r.UserID = p.full(HeaderUser, token, Token, Untoken)
		case 1:
			var ok bool
			if r.Provider, ok = Untoken(token); !ok {
				r.Provider = token
			}
		case 2:
			r.Action = p.full(HeaderAction, token, Name, unname)
		}
	}
}

// full completes a hashed token from its header and refuses a header that says
// something else than the subject.
func (p *requestParser) full(name, token string, encode func(string) string, decode func(string) (string, bool)) string {
	value := lookup(p.header, name)
	if value == "" {
		s, ok := decode(token)
		if !ok {
			p.fail(name, "needed, because %q in the subject is shortened or malformed", token)
			return token
		}
		return s
	}
	s, err := unescape(value)
	if err != nil || encode(s) != token {
		p.fail(name, "does not match %q in the subject", token)
		return token
	}
	return s
}

func (p *requestParser) text(name string, limit int) string {
	v := lookup(p.header, name)
	if len(v) > limit {
		p.fail(name, "longer than %d bytes", limit)
		return ""
	}
	return v
}

func (p *requestParser) duration(name string) time.Duration {
	v := lookup(p.header, name)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		seconds, nerr := strconv.ParseUint(v, 10, 31)
		if nerr != nil {
			p.fail(name, "%q is not a duration such as 30s", v)
			return 0
		}
		d = time.Duration(seconds) * time.Second
	}
	if d <= 0 {
		p.fail(name, "%q is not above zero", v)
		return 0
	}
	return d
}

func (p *requestParser) time(name string) time.Time {
	v := lookup(p.header, name)
	if v == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		p.fail(name, "%q is not a time such as 2026-01-02T15:04:05Z", v)
	}
	return t
}

func (p *requestParser) number(name string, most int) int {
	v := lookup(p.header, name)
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		p.fail(name, "%q is not a number from 1 to %d", v, most)
		return 0
	}
	return n
}

func (p *requestParser) cache() time.Duration {
	if lookup(p.header, HeaderCache) == noCache {
		return NoCache
	}
	return p.duration(HeaderCache)
}

func (p *requestParser) stream(reply string) bool {
	switch v := lookup(p.header, HeaderStream); {
	case v == "":
		return false
	case v != streamPages:
		p.fail(HeaderStream, "%q is not %s", v, streamPages)
	case reply == "":
		p.fail(HeaderStream, "needs %s, the inbox that the pages go to", HeaderReply)
	}
	return true
}

func (p *requestParser) delivery() Delivery {
	switch d := Delivery(lookup(p.header, HeaderDelivery)); d {
	case "", AtMostOnce, AtLeastOnce:
		return d
	default:
		p.fail(HeaderDelivery, "%q is neither %s nor %s", d, AtMostOnce, AtLeastOnce)
		return ""
	}
}

func (p *requestParser) reply() string {
	v := lookup(p.header, HeaderReply)
	if v == "" {
		return ""
	}
	if err := CheckInbox(v); err != nil {
		p.fail(HeaderReply, "%v", err)
		return ""
	}
	return v
}

// CheckInbox says why a result may not be sent to s: it is not an inbox, or no
// legal subject.
func CheckInbox(s string) error {
	if !strings.HasPrefix(s, InboxPrefix) && !strings.HasPrefix(s, serverReply) {
		return errors.New("must be an inbox (" + InboxPrefix + ".…)")
	}
	if len(s) > MaxSubject || strings.ContainsAny(s, "*> \t\r\n\x00") || strings.Contains(s, "..") || strings.HasSuffix(s, ".") {
		return errors.New("is not a legal inbox subject")
	}
	return nil
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
