package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

func TestDeviceFlow(t *testing.T) {
	now := epoch
	r := newRig(t, oauthtest.Config{Now: func() time.Time { return now }, Grantable: []string{"read"}})
	code, err := r.client.StartDevice(t.Context(), r.auth, r.app, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code.UserCode == "" || code.VerificationURI != r.URL+"/device" || !strings.Contains(code.VerificationURIComplete, code.UserCode) ||
		code.Interval != 5*time.Second || !code.ExpiresAt.Equal(epoch.Add(time.Minute)) {
		t.Errorf("got %+v", code)
	}
	poll := func() (*oauth.Grant, error) { return r.client.PollDevice(t.Context(), r.auth, r.app, code) }
	_, err = poll()
	if f := wantFailure(t, err, oauth.Pending); f.Code != "authorization_pending" {
		t.Errorf("got %v", err)
	}
	now = now.Add(time.Second)
	_, err = poll()
	if f := wantFailure(t, err, oauth.Pending); f.Code != "slow_down" {
		t.Errorf("got %v", err)
	}
	if !r.Decide(code.UserCode, true) {
		t.Fatal("nobody waits for the user's answer")
	}
	now = now.Add(5 * time.Second)
	grant, err := poll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"write"}, grant.Missing); diff != "" || grant.RefreshToken.IsZero() {
		t.Errorf("%s, %+v", diff, grant)
	}
	if err := r.client.Probe(t.Context(), r.auth, r.app, token(grant)); err != nil {
		t.Error(err)
	}
}

func TestDeviceEnds(t *testing.T) {
	now := epoch
	r := newRig(t, oauthtest.Config{Now: func() time.Time { return now }})
	start := func() *oauth.DeviceCode {
		code, err := r.client.StartDevice(t.Context(), r.auth, r.app, []string{"read"})
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	denied := start()
	r.Decide(denied.UserCode, false)
	_, err := r.client.PollDevice(t.Context(), r.auth, r.app, denied)
	wantClass(t, err, oauth.Denied)

	late := start()
	now = now.Add(2 * time.Minute)
	_, err = r.client.PollDevice(t.Context(), r.auth, r.app, late)
	if f := wantFailure(t, err, oauth.Dead); f.Sent {
		t.Errorf("an expired code is asked for: %v", err)
	}
	late.ExpiresAt = now.Add(time.Hour) // the server knows better
	_, err = r.client.PollDevice(t.Context(), r.auth, r.app, late)
	if f := wantFailure(t, err, oauth.Dead); f.Code != "expired_token" {
		t.Errorf("got %v", err)
	}

	r.app.ClientID = "nobody"
	_, err = r.client.StartDevice(t.Context(), r.auth, r.app, nil)
	wantClass(t, err, oauth.Misconfigured)
	_, err = r.client.StartDevice(t.Context(), r.auth, r.app, []string{"a b"})
	if err == nil || !strings.HasPrefix(err.Error(), "invalid_params: scopes[0]: ") {
		t.Errorf("got %v", err)
	}
	machine, _ := oauthtest.Pack(t).AuthByID("machine")
	_, err = r.client.StartDevice(t.Context(), machine, r.app, nil)
	wantClass(t, err, oauth.Misconfigured)
}

// script answers one request after the other and notes when they came.
type script struct {
	bodies []string
	at     []time.Duration
	start  time.Time
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.at = append(s.at, time.Since(s.start))
	body := s.bodies[0]
	if len(s.bodies) > 1 {
		s.bodies = s.bodies[1:]
	}
	status := http.StatusBadRequest
	if strings.Contains(body, "access_token") {
		status = http.StatusOK
	}
	return canned{status: status, body: body}.RoundTrip(req)
}

func TestAwaitDevice(t *testing.T) {
	const pending, slow = `{"error":"authorization_pending"}`, `{"error":"slow_down"}`
	tests := []struct {
		name   string
		bodies []string
		class  oauth.Class // "": a token
		at     []time.Duration
	}{
		{"at once", []string{`{"access_token":"a"}`}, "", []time.Duration{2 * time.Second}},
		{"pending", []string{pending, pending, `{"access_token":"a"}`}, "", []time.Duration{2 * time.Second, 4 * time.Second, 6 * time.Second}},
		{"slow down", []string{slow, pending, `{"access_token":"a"}`}, "", []time.Duration{2 * time.Second, 9 * time.Second, 16 * time.Second}},
		{"slower than asked", []string{`{"error":"slow_down","interval":20}`, `{"access_token":"a"}`}, "", []time.Duration{2 * time.Second, 22 * time.Second}},
		{"trouble", []string{"oops", "oops", `{"access_token":"a"}`}, "", []time.Duration{2 * time.Second, 6 * time.Second, 14 * time.Second}},
		{"denied", []string{pending, `{"error":"access_denied"}`}, oauth.Denied, []time.Duration{2 * time.Second, 4 * time.Second}},
		{"never", []string{`{"error":"slow_down","interval":20}`}, oauth.Dead, []time.Duration{2 * time.Second, 22 * time.Second, 47 * time.Second}},
	}
	auth, _ := oauthtest.Pack(t).AuthByID("oauth")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{bodies: tt.bodies, start: time.Now()}
				client := oauth.New(oauth.Config{HTTP: &http.Client{Transport: s}})
				code := &oauth.DeviceCode{DeviceCode: secret("dc-s3cret"), Interval: 2 * time.Second, ExpiresAt: time.Now().Add(time.Minute)}
				grant, err := client.AwaitDevice(t.Context(), auth, providers.App{ClientID: "c"}, code)
				if tt.class != "" {
					wantClass(t, err, tt.class)
				} else if err != nil || reveal(grant.AccessToken) != "a" {
					t.Errorf("got %v, %v", grant, err)
				}
				if diff := cmp.Diff(tt.at, s.at); diff != "" {
					t.Errorf("it asked at other times (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAwaitDeviceCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, _ := oauthtest.Pack(t).AuthByID("oauth")
		client := oauth.New(oauth.Config{HTTP: &http.Client{Transport: &script{bodies: []string{`{"error":"slow_down"}`}, start: time.Now()}}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		code := &oauth.DeviceCode{DeviceCode: secret("dc-s3cret"), Interval: 2 * time.Second, ExpiresAt: time.Now().Add(time.Hour)}
		_, err := client.AwaitDevice(ctx, auth, providers.App{ClientID: "c"}, code)
		if wantClass(t, err, oauth.Transient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestStartDeviceReads(t *testing.T) {
	auth, _ := oauthtest.Pack(t).AuthByID("oauth")
	start := func(status int, body string) (*oauth.DeviceCode, error) {
		client := oauth.New(oauth.Config{HTTP: &http.Client{Transport: canned{status: status, body: body}}, Now: func() time.Time { return epoch }})
		return client.StartDevice(t.Context(), auth, providers.App{ClientID: "c"}, nil)
	}
	const good = `"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://p.example/device"`
	tests := []struct {
		body     string
		interval time.Duration
		life     time.Duration
	}{
		{`{` + good + `,"expires_in":900,"interval":7}`, 7 * time.Second, 15 * time.Minute},
		{`{` + good + `,"expires_in":"60","interval":"0.5"}`, 500 * time.Millisecond, time.Minute},
		{`{` + good + `}`, 5 * time.Second, 15 * time.Minute},
		{`{` + good + `,"expires_in":1e9,"interval":1e9}`, 5 * time.Minute, time.Hour},
		{`device_code=d&user_code=WDJB-MJHT&verification_url=https%3A%2F%2Fp.example%2Fdevice&interval=5&expires_in=899`, 5 * time.Second, 899 * time.Second},
	}
	for _, tt := range tests {
		code, err := start(200, tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		if code.Interval != tt.interval || code.ExpiresAt.Sub(epoch) != tt.life || code.UserCode != "WDJB-MJHT" || code.VerificationURI != "https://p.example/device" {
			t.Errorf("%s gives %+v", tt.body, code)
		}
	}
	for _, body := range []string{
		"", "{}", `{"device_code":"d"}`, strings.Replace(`{`+good+`}`, "https:", "javascript:", 1), strings.Replace(`{`+good+`}`, "https://p.example", "", 1),
		strings.Replace(`{`+good+`}`, "WDJB", `\u0000`, 1), strings.Replace(`{`+good+`}`, `"d"`, `"a b"`, 1),
	} {
		code, err := start(200, body)
		if f := wantFailure(t, err, oauth.Transient); code != nil || !f.Body.IsZero() {
			t.Errorf("%s gives %+v", body, code)
		}
	}
	_, err := start(400, `{`+good+`}`)
	wantClass(t, err, oauth.Transient)
	_, err = start(200, `{"error":"unauthorized_client"}`)
	wantClass(t, err, oauth.Misconfigured)
}
