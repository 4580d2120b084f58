package auth

import (
	"context"
	"errors"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

const (
	maxDevices   = 1000             // polled at once, all users together
	pollLease    = 60 * time.Second // after which a poll is taken to be lost with its process; it takes less than 40 s
	slowDownStep = 5 * time.Second  // RFC 8628, section 3.5
	maxInterval  = 5 * time.Minute
)

// deviceCode is the part of an attempt that goes on on another device.
type deviceCode struct {
	Code                    []byte `json:"code"` // sealed
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete,omitempty"`

	Interval time.Duration `json:"interval"` // between polls
	// Wait is how long after this revision the next poll is due. A distance,
	// because the clocks of two replicas may differ.
	Wait time.Duration `json:"wait"`
	// Polling marks a revision as the claim of a poll that is under way: who
	// sees it wait for a whole lease takes over.
	Polling bool `json:"polling,omitempty"`
}

// startDevice begins an attempt on another device. Run polls for its end, in
// this process or in another.
func (f *flows) startDevice(ctx context.Context, in startInput) (*flow, error) {
	plan, err := f.plan(ctx, in, func(a *providers.Auth) bool { return a.Device != nil })
	if err != nil {
		return nil, err
	}
	if f.devices.full() {
		return nil, events.Errorf(events.CodeRateLimited, "too many device flows are under way; try again in a minute")
	}
	code, err := f.oauth.StartDevice(ctx, plan.auth, plan.app, in.Scopes)
	if err != nil {
		return nil, f.failed(plan, err)
	}
	_, id := newToken()
	attempt := plan.flow(deviceFlow+id, code.ExpiresAt.UTC())
	attempt.Device = &deviceCode{
		UserCode: code.UserCode, VerificationURI: code.VerificationURI, VerificationURIComplete: code.VerificationURIComplete,
		Interval: code.Interval, Wait: code.Interval,
	}
	if attempt.Device.Code, err = f.states.seal(&attempt, fieldDevice, code.DeviceCode); err != nil {
		return nil, err
	}
	if _, err := f.states.put(ctx, attempt, 0); err != nil {
		return nil, err
	}
	return &attempt, nil
}

// poll asks once for the outcome of an attempt, when the revision of it that was
// seen has waited as long as it says. Where there is a later one by now, another
// replica has asked, or does.
func (f *flows) poll(ctx context.Context, id string, seen uint64) error {
	attempt, revision, err := f.states.flow(ctx, id)
	if errors.Is(err, errGone) || err == nil && (revision != seen || attempt.Device == nil || attempt.Status != flowPending) {
		return nil
	}
	if err != nil {
		return err
	}
	attempt.Device.Wait, attempt.Device.Polling = pollLease, true
	revision, err = f.states.put(ctx, attempt, revision)
	if errors.Is(err, errTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.pollClaimed(ctx, &attempt, revision)
}

// pollClaimed asks the provider, and writes down what comes of it.
func (f *flows) pollClaimed(ctx context.Context, attempt *flow, revision uint64) error {
	auth, app, err := f.parts(ctx, attempt)
	if err != nil {
		f.conclude(ctx, attempt, revision, "", nil, err)
		return nil
	}
	code, err := f.states.open(attempt, fieldDevice, attempt.Device.Code)
	if err != nil {
		f.conclude(ctx, attempt, revision, "", nil, err)
		return nil
	}
	grant, err := f.oauth.PollDevice(ctx, auth, app, &oauth.DeviceCode{
		DeviceCode: code, ExpiresAt: attempt.ExpiresAt, Interval: attempt.Device.Interval, Scopes: attempt.Scopes,
	})
	var failure *oauth.Failure
	if errors.As(err, &failure) && (failure.Class == oauth.Pending || failure.Class == oauth.Transient) {
		attempt.Device.back(failure)
		_, err := f.states.put(ctx, *attempt, revision)
		if errors.Is(err, errTaken) { // we took too long, and somebody took over
			return nil
		}
		return err
	}
	var connected string
	var missing []string
	if err == nil {
		connected, missing, err = f.keep(ctx, attempt, auth, app, grant)
	}
	f.conclude(ctx, attempt, revision, connected, missing, err)
	return nil
}

// back sets the next poll after one without an outcome.
func (d *deviceCode) back(failure *oauth.Failure) {
	switch {
	case failure.Code == "slow_down":
		d.Interval += slowDownStep
	case failure.Class == oauth.Transient:
		d.Interval *= 2
	}
	d.Interval = min(max(d.Interval, failure.RetryAfter), maxInterval)
	d.Wait, d.Polling = d.Interval, false
}
