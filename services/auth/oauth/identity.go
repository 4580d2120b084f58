package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Account is whose account a credential is for. Both are empty when the pack
// does not know how to tell.
type Account struct {
	ID    string // in the provider's words; webhooks are routed by it
	Label string // for people
}

// Identity asks the provider whose account cred is for, where the pack has a
// request for that. What a token response or a field of the credential tells is
// in [Grant] or cred already, and here as well in the case of the field.
func (c *Client) Identity(ctx context.Context, auth *providers.Auth, app providers.App, cred providers.Credential) (Account, error) {
	id := auth.Identity
	if id == nil {
		return Account{}, nil
	}
	var account Account
	if id.Field != "" {
		s, _ := cred.Field(id.Field)
		account.ID = line(reveal(s))
	}
	if id.Request == nil {
		return account, nil
	}
	const op = "asking whose account it is"
	raw, failure := c.call(ctx, op, id.Request, app, cred)
	if failure != nil {
		return Account{}, failure
	}
	a := answer{body: decode(raw)}
	if id.Field == "" {
		account.ID = line(a.text(id.Account))
	}
	account.Label = line(a.text(id.Label))
	if account.ID == "" {
		return Account{}, &Failure{Op: op, Class: Transient, Sent: true, reason: "the answer does not say"}
	}
	return account, nil
}

// Probe asks the provider for something harmless with cred. nil: the credential
// is good, or the pack has no probe. A *Failure of class Dead says that it is not;
// any other one proves nothing.
func (c *Client) Probe(ctx context.Context, auth *providers.Auth, app providers.App, cred providers.Credential) error {
	if auth.Probe == nil {
		return nil
	}
	if _, failure := c.call(ctx, "testing the credential", auth.Probe, app, cred); failure != nil {
		return failure
	}
	return nil
}

// call makes a call of the provider's API.
func (c *Client) call(ctx context.Context, op string, call *providers.AuthCall, app providers.App, cred providers.Credential) (json.RawMessage, *Failure) {
	req, err := call.NewRequest(ctx, app, cred)
	if err != nil {
		return nil, judged(op, err, answer{}, c)
	}
	a, failure := c.send(ctx, op, req)
	if failure != nil {
		return nil, failure
	}
	if a.cut {
		return nil, &Failure{Op: op, Class: Transient, Status: a.status, Sent: true, reason: "the answer is too long"}
	}
	data, err := call.Read(a.response()) //nolint:bodyclose // it is memory
	if err != nil {
		return nil, judged(op, err, a, c)
	}
	return data, nil
}

// judged is the failure of a call as the pack classes it. The provider's own
// text stays out: it may quote the credential.
func judged(op string, err error, a answer, c *Client) *Failure {
	f := &Failure{Op: op, Class: Transient, Status: a.status, Sent: a.status != 0, reason: "the provider refuses"}
	if a.header != nil {
		f.RetryAfter = a.retryAfter(c.now())
	}
	var e *events.Error
	switch {
	case !errors.As(err, &e):
		f.Class, f.reason = Misconfigured, "the app's base URL cannot be used"
	case e.Code == events.CodeNeedsReauth && a.status == 0:
		f.Class, f.reason = Dead, "the credential cannot be applied"
	case e.Code == events.CodeNeedsReauth:
		f.Class, f.reason = Dead, "the provider refuses the credential"
	}
	return f
}

// response is the answer for those who read responses.
func (a answer) response() *http.Response {
	return &http.Response{StatusCode: a.status, Header: a.header, Body: body(a.raw)}
}
