package oauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	deviceGrant     = "urn:ietf:params:oauth:grant-type:device_code"
	defaultInterval = 5 * time.Second // RFC 8628, section 3.2
	maxInterval     = 5 * time.Minute
	deviceLife      = 15 * time.Minute // where the answer does not say
	maxDeviceLife   = time.Hour
)

// DeviceCode is a device flow on its way: the user enters UserCode at
// VerificationURI, on any device.
type DeviceCode struct {
	DeviceCode              providers.Secret
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string // has the code in it already; "": the provider has no such page
	ExpiresAt               time.Time
	Interval                time.Duration // the least time between two polls
	Scopes                  []string      // that were asked for
}

// StartDevice begins a device flow. Scopes nil: the pack's default_scopes; those
// that cannot be sent give an *events.Error with code invalid_params.
func (c *Client) StartDevice(ctx context.Context, auth *providers.Auth, app providers.App, scopes []string) (*DeviceCode, error) {
	const op = "starting the device flow"
	d := auth.Device
	if d == nil || auth.Token == nil {
		return nil, unsent(op, Misconfigured, "auth "+auth.ID+" has no device flow")
	}
	joined, err := joinScopes(auth, scopes)
	if err != nil {
		return nil, err
	}
	params := url.Values{}
	if joined != "" {
		params.Set("scope", joined)
	}
	k := ask{
		op: op, auth: auth, fields: fields{app: app},
		method: http.MethodPost, url: d.URL, encoding: auth.Token.Encoding, client: d.ClientAuth,
		params: params, own: d.Params, namesItsID: true,
	}
	asked := c.now()
	a, failure := c.do(ctx, k)
	if failure != nil {
		return nil, failure
	}
	code := readDevice(a, asked)
	if code == nil {
		return nil, unstarted(a.failure(k, c.now()))
	}
	code.Scopes = slices.Clone(scopesOf(auth, scopes))
	return code, nil
}

// unstarted is the failure of a start, of which nothing has to be kept.
func unstarted(f *Failure) *Failure {
	if f.Class == Ambiguous {
		f.Class, f.Body = Transient, providers.Secret{}
	}
	return f
}

// readDevice makes a device code of an answer; nil when it is none.
func readDevice(a answer, asked time.Time) *DeviceCode {
	secret, ok := token(a.member("device_code"))
	code := &DeviceCode{
		DeviceCode:              secret,
		UserCode:                line(a.member("user_code")),
		VerificationURI:         page(a.member("verification_uri")),
		VerificationURIComplete: page(a.member("verification_uri_complete")),
		Interval:                min(seconds(a.member("interval")), maxInterval),
	}
	if code.VerificationURI == "" {
		code.VerificationURI = page(a.member("verification_url")) // Google's spelling
	}
	life := seconds(a.member("expires_in"))
	if !isSuccess(a.status) || !ok || secret.IsZero() || code.UserCode == "" || code.VerificationURI == "" {
		return nil
	}
	code.Interval = cmp.Or(code.Interval, defaultInterval)
	code.ExpiresAt = asked.Add(min(cmp.Or(life, deviceLife), maxDeviceLife))
	return code
}

// page is a link that a person may be shown; "" for anything else.
func page(text string) string {
	text = line(text)
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Scheme, "https") && !strings.EqualFold(u.Scheme, "http") {
		return ""
	}
	return text
}

// PollDevice asks once whether the user has answered. A *Failure of class
// Pending says to ask again, after the code's Interval; with code slow_down after
// five seconds more from then on, or after its RetryAfter where that is longer.
func (c *Client) PollDevice(ctx context.Context, auth *providers.Auth, app providers.App, code *DeviceCode) (*Grant, error) {
	const op = "asking for the device's token"
	if auth.Token == nil {
		return nil, unsent(op, Misconfigured, "auth "+auth.ID+" has no token endpoint")
	}
	if !c.now().Before(code.ExpiresAt) {
		return nil, unsent(op, Dead, "the code has expired; start again")
	}
	f := fields{app: app, sent: []providers.Secret{code.DeviceCode}}
	k := tokenAsk(op, auth, f, url.Values{
		"grant_type":  {deviceGrant},
		"device_code": {reveal(code.DeviceCode)},
	})
	k.device = true
	return c.grant(ctx, k, code.Scopes)
}

// AwaitDevice polls until the user has answered, the code has expired or ctx
// ends. A transient failure is waited out like an answer that is pending.
func (c *Client) AwaitDevice(ctx context.Context, auth *providers.Auth, app providers.App, code *DeviceCode) (*Grant, error) {
	interval := code.Interval
	for {
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, &Failure{Op: "waiting for the user", Class: Transient, reason: "canceled", err: ctx.Err()}
		case <-timer.C:
		}
		grant, err := c.PollDevice(ctx, auth, app, code)
		var f *Failure
		switch {
		case !errors.As(err, &f) || ctx.Err() != nil || f.Class != Pending && f.Class != Transient:
			return grant, err
		case f.Code == "slow_down":
			interval += defaultInterval
		case f.Class == Transient:
			interval *= 2 // RFC 8628, section 3.5
		}
		interval = min(max(interval, f.RetryAfter), maxInterval)
	}
}
