package sandbox

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	devicePage     = "/_device/"
	deviceInterval = time.Second
	deviceLeeway   = deviceInterval / 4 // a poll that is a little early is let through
)

// device is an attempt on another device.
type device struct {
	auth, client, userCode string
	scopes                 []string
	until, polled          time.Time
	decided, allowed       bool
}

// startDevice begins an attempt (RFC 8628, section 3.1).
func (s *authority) startDevice(auth *providers.Auth, r *asked) *answer {
	client, ok := r.client(auth.Device.ClientAuth)
	if !ok {
		return protocolError(http.StatusUnauthorized, "invalid_client")
	}
	text := rand.Text()
	code, userCode := "sbx_device_"+rand.Text(), text[:4]+"-"+text[4:8]
	s.devices[code] = &device{
		auth: auth.ID, client: client, userCode: userCode, until: s.now().Add(codeLife),
		scopes: strings.FieldsFunc(r.form.Get("scope"), func(c rune) bool { return c == ' ' || c == ',' }),
	}
	page := r.root + devicePage + auth.ID
	return object(http.StatusOK, map[string]any{
		"device_code": code, "user_code": userCode, "expires_in": int(codeLife.Seconds()), "interval": int(deviceInterval.Seconds()),
		"verification_uri": page, "verification_uri_complete": page + "?user_code=" + userCode,
	})
}

// decideDevice is where the user enters the code and decides.
func (s *authority) decideDevice(auth *providers.Auth, r *asked) *answer {
	userCode := strings.ToUpper(strings.TrimSpace(r.form.Get("user_code")))
	var d *device
	for _, one := range s.devices {
		if one.userCode == userCode && one.auth == auth.ID {
			d = one
		}
	}
	switch approve := r.form.Get("approve"); {
	case userCode == "":
		return s.page(http.StatusOK, sheet{Title: "Enter the code of your device", Form: &form{Action: r.URL.EscapedPath(), AskCode: true}})
	case d == nil || d.decided:
		return s.page(http.StatusNotFound, sheet{Title: "There is no such code", Text: "It may have expired, or was used. Start again on the device."})
	case approve == "":
		return s.page(http.StatusOK, sheet{
			Title: "Let " + d.client + " use your account?",
			Form:  &form{Action: r.URL.EscapedPath(), Hidden: []pair{{"user_code", d.userCode}}, Scopes: d.scopes},
		})
	default:
		d.decided, d.allowed = true, approve == "1"
		if grant, narrowed := r.form["grant"]; narrowed {
			d.scopes = slices.DeleteFunc(d.scopes, func(scope string) bool { return !slices.Contains(grant, scope) })
		}
		return s.page(http.StatusOK, sheet{Title: "Thank you", Text: "Go on at your device; you can close this window."})
	}
}

// pollDevice answers whether the user has decided (RFC 8628, section 3.5).
func (s *authority) pollDevice(auth *providers.Auth, r *asked) *answer {
	code := r.form.Get("device_code")
	d := s.devices[code]
	if client, _ := r.client(auth.Token.ClientAuth); d == nil || d.client != client {
		return protocolError(http.StatusBadRequest, "expired_token")
	}
	early := s.now().Sub(d.polled) < deviceInterval-deviceLeeway
	d.polled = s.now()
	switch {
	case early:
		return protocolError(http.StatusBadRequest, "slow_down")
	case !d.decided:
		return protocolError(http.StatusBadRequest, "authorization_pending")
	}
	delete(s.devices, code)
	if !d.allowed {
		return protocolError(http.StatusBadRequest, "access_denied")
	}
	return s.issue(s.block(d.auth, auth), rand.Text(), 1, d.scopes)
}
