package executor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// renewing hands out version 1 of a credential, and what renew says for one
// that was refused.
type renewing struct {
	tokens
	asked *atomic.Int32
	renew func(refused providers.Credential) (providers.Credential, error)
}

func (f renewing) Refused(_ context.Context, _, _ string, refused providers.Credential) (providers.Credential, error) {
	f.asked.Add(1)
	return f.renew(refused)
}

func versionOf(n int) providers.Credential {
	token := map[int]string{1: "t0ken", 2: "newer"}[n]
	return providers.Credential{Auth: "token", Token: providers.NewSecret([]byte(token)), ConnectionID: "con_only", Version: n}
}

// onlyNewer is a provider that takes version 2 alone.
func onlyNewer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer newer" {
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, _ = w.Write([]byte(`{"ok":true}`))
}

func TestARefusedCredentialIsRenewedOnce(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	renewed := func(providers.Credential) (providers.Credential, error) { return versionOf(2), nil }
	failing := func(err error) func(providers.Credential) (providers.Credential, error) {
		return func(providers.Credential) (providers.Credential, error) { return providers.Credential{}, err }
	}
	tests := []struct {
		name      string
		serve     http.HandlerFunc
		renew     func(providers.Credential) (providers.Credential, error)
		outcome   events.Outcome
		code      events.Code
		sent      int // requests to the provider
		retryable bool
	}{
		{"a newer one works", onlyNewer, renewed, events.Succeeded, "", 2, false},
		{"a newer one is refused as well", refuse, renewed, events.Failed, events.CodeNeedsReauth, 2, false},
		{"there is no newer one", refuse, func(c providers.Credential) (providers.Credential, error) { return c, nil }, events.Failed, events.CodeNeedsReauth, 1, false},
		{"the user has to connect again", refuse, failing(events.Errorf(events.CodeNeedsReauth, "connect again")), events.Failed, events.CodeNeedsReauth, 1, false},
		{"the connection is gone", refuse, failing(events.Errorf(events.CodeConnectionNotFound, "gone")), events.Failed, events.CodeConnectionNotFound, 1, false},
		{"it is being refreshed", refuse, failing(events.Errorf(events.CodeInternal, "a refresh is under way")), events.Failed, events.CodeProviderUnavailable, 1, true},
		{"the auth service is away", refuse, failing(errors.New("no responders")), events.Failed, events.CodeProviderUnavailable, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			s := tell(t, tt.serve, func(c *Config) { c.Credentials = renewing{asked: &asked, renew: tt.renew} })
			s.start()
			s.request(events.ActionRequest{ID: "read", Reply: "_INBOX.a", MaxAttempts: 1, Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
			s.request(events.ActionRequest{ID: "write", Reply: "_INBOX.a", MaxAttempts: 1, Action: "things.create", Params: json.RawMessage(`{"title":"t"}`)})
			for _, r := range s.results(2) {
				if r.Outcome != tt.outcome || r.Attempts != tt.sent || (r.Error == nil) != (tt.code == "") {
					t.Errorf("%s: %+v", r.ID, r)
				}
				if r.Error != nil && (r.Error.Code != tt.code || r.Error.Retryable != tt.retryable || strings.Contains(r.Error.Message, "t0ken")) {
					t.Errorf("%s: %+v", r.ID, r.Error)
				}
			}
			if s.provider.count() != 2*tt.sent || asked.Load() != 2 {
				t.Errorf("the provider was asked %d times, the auth service %d times", s.provider.count(), asked.Load())
			}
		})
	}
}

// A connection that nobody was asked for cannot be renewed.
func TestOtherFailuresRenewNothing(t *testing.T) {
	var asked atomic.Int32
	s := tell(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, func(c *Config) {
		c.Credentials = renewing{asked: &asked, renew: func(providers.Credential) (providers.Credential, error) { return versionOf(2), nil }}
	})
	s.start()
	s.request(events.ActionRequest{ID: "r", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	if r := s.results(1)[0]; r.Outcome != events.Failed || asked.Load() != 0 {
		t.Errorf("%+v, asked %d times", r, asked.Load())
	}
}
