package auth

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestRecordRoundTrip(t *testing.T) {
	want := record{
		Connection: events.Connection{
			ID: "con_1", UserID: "Ä user. with *", Provider: "github", Name: "work", Auth: "pat", Account: "a",
			Status: events.ConnectionActive, Scopes: []string{"repo"}, Version: 3,
			CreatedAt: time.Unix(1, 2).UTC(), UpdatedAt: time.Unix(3, 4).UTC(),
		},
		App: "client", ObtainedAt: time.Unix(5, 0).UTC(), RefreshExpiresAt: time.Unix(6, 0).UTC(), Renewable: true,
		DefaultSince: time.Unix(7, 0).UTC(), Fence: 8,
		Refresh: refreshing{
			Holder: "h", Since: time.Unix(9, 0).UTC(), Attempt: 2, Cut: 1, NextAttempt: time.Unix(10, 0).UTC(), DeadSince: time.Unix(11, 0).UTC(),
			Failure: &failure{Class: failDead, Code: "invalid_grant", Status: 400, At: time.Unix(12, 0).UTC()},
		},
		Credential: []byte{0, 1, 255},
	}
	value, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(recordKey(want.Connection), value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRecordNamesWhatItRefuses(t *testing.T) {
	value, err := (&record{Connection: events.Connection{ID: "con_1", UserID: "u1", Provider: "github"}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, key, value string }{
		{"not JSON", "u2.slack.con_2", "}"},
		{"of another form", "u2.slack.con_2", `{"id":7}`},
		{"of another key", "u2.slack.con_2", string(value)},
		{"of another user", "u2.github.con_1", string(value)},
		{"empty", "u2.slack.con_2", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := decodeRecord(tt.key, []byte(tt.value))
			if err == nil {
				t.Fatal("accepted")
			}
			if r.UserID != "u2" || r.Credential != nil || recordKey(r.Connection) != tt.key {
				t.Errorf("names %+v", r)
			}
		})
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add("u1.github.con_1", []byte(`{"id":"con_1","user_id":"u1","provider":"github","credential":"AAEC"}`))
	f.Add("u1.github.con_1", []byte(`{"id":"con_1","user_id":"u1","provider":"github","status":"active","version":2,"expires_at":"2026-01-02T03:04:05Z","renewable":true,"fence":7,"refresh":{"holder":"h","attempt":2,"cut":1,"failure":{"class":"dead","at":"2026-01-02T03:04:05Z"}},"credential":"AAEC"}`))
	f.Add("u1.github", []byte(`{}`))
	f.Add("=.h-0123456789abcdef.", []byte(`null`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r, err := decodeRecord(key, value)
		if err == nil && recordKey(r.Connection) != key {
			t.Errorf("the record of %q was accepted at %q", recordKey(r.Connection), key)
		}
		if err != nil && len(r.Credential) > 0 {
			t.Error("a refused record has a credential")
		}
	})
}
