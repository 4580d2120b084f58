package auth

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

// granted is a record of a credential that was got now and lives for life; 0:
// for ever.
func grantedNow(now time.Time, life time.Duration) *record {
	r := &record{Connection: events.Connection{ID: "con_1", Status: events.ConnectionActive, Version: 1}, ObtainedAt: now, Renewable: true}
	if life > 0 {
		r.ExpiresAt = now.Add(life)
	}
	return r
}

func TestDueAt(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	day := 24 * time.Hour
	tests := []struct {
		name     string
		life     time.Duration
		rules    rules
		edit     func(*record)
		from, to time.Time // both zero: never
	}{
		{"an hour", time.Hour, rules{}, nil, in(48 * time.Minute), in(54 * time.Minute)},             // 10 % is 6 minutes
		{"half an hour", 30 * time.Minute, rules{}, nil, in(22 * time.Minute), in(25 * time.Minute)}, // 5 minutes are more
		{"eight hours", 8 * time.Hour, rules{}, nil, in(6*time.Hour + 24*time.Minute), in(7*time.Hour + 12*time.Minute)},
		{"a moment", 800 * time.Millisecond, rules{}, nil, in(320 * time.Millisecond), in(400 * time.Millisecond)},
		{"the provider's margin", time.Hour, rules{margin: 10 * time.Minute}, nil, in(44 * time.Minute), in(50 * time.Minute)},
		{"a margin that is too small", time.Hour, rules{margin: time.Second}, nil, in(53 * time.Minute), in(59 * time.Minute)},
		{"for ever", 0, rules{}, nil, time.Time{}, time.Time{}},
		{"kept alive", 0, rules{keepAlive: 90 * day}, nil, in(16*day + 4*time.Hour), in(18 * day)},
		{"refresh token that expires", 0, rules{}, func(r *record) { r.RefreshExpiresAt = in(10 * day) }, in(1*day + 19*time.Hour), in(2 * day)},
		{"refresh token that expires soon", 0, rules{}, func(r *record) { r.RefreshExpiresAt = in(2 * time.Hour) }, in(57 * time.Minute), in(time.Hour)},
		{"the earlier of two", time.Hour, rules{keepAlive: time.Hour}, nil, in(28 * time.Minute), in(30 * time.Minute)},
		{"postponed", time.Hour, rules{}, func(r *record) { r.Refresh.NextAttempt = in(7 * day) }, in(7 * day), in(7 * day)},
		{"not renewable", time.Hour, rules{keepAlive: day}, func(r *record) { r.Renewable = false }, in(time.Hour), in(time.Hour)},
		{"not renewable, for ever", 0, rules{}, func(r *record) { r.Renewable = false }, time.Time{}, time.Time{}},
		{"given up", time.Hour, rules{}, func(r *record) { r.Status = events.ConnectionNeedsReauth }, time.Time{}, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := grantedNow(now, tt.life)
			if tt.edit != nil {
				tt.edit(r)
			}
			got := r.dueAt(tt.rules)
			if tt.from.IsZero() != got.IsZero() || got.Before(tt.from) || got.After(tt.to) {
				t.Errorf("due at %s, want from %s to %s", got, tt.from, tt.to)
			}
		})
	}
}

// Whatever a provider says: a credential is refreshed before it gets stale, it
// is remembered by nobody for longer than it is good, and each version has one
// time.
func TestDueProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0)
		life := time.Duration(rapid.Int64Range(int64(10*time.Millisecond), int64(400*24*time.Hour)).Draw(t, "life"))
		r := grantedNow(now, life)
		r.ID = rapid.String().Draw(t, "id")
		is := rules{
			margin:    time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "margin")),
			keepAlive: time.Duration(rapid.Int64Range(int64(time.Hour), int64(400*24*time.Hour)).Draw(t, "keep alive")),
		}
		due := r.dueAt(is)
		if due != r.dueAt(is) {
			t.Error("due at two times")
		}
		if !due.After(now) || r.isStale(due.Add(-1)) {
			t.Errorf("due after %s of %s", due.Sub(now), life)
		}
		at := now.Add(time.Duration(rapid.Int64Range(0, int64(2*life)).Draw(t, "age")))
		if reuse := r.reuse(at); reuse > maxReuse || reuse > life/4+time.Millisecond || reuse > 0 && r.isStale(at.Add(reuse-1)) {
			t.Errorf("reused for %s at the age of %s of %s", reuse, at.Sub(now), life)
		}
		if r.isOver(at) && !r.isStale(at) {
			t.Error("over and not stale")
		}
	})
}

func TestSharesDiffer(t *testing.T) {
	seen := map[time.Duration]bool{}
	r := grantedNow(time.Unix(0, 0), time.Hour)
	for version := range 100 {
		r.Version = version
		share := r.share(time.Hour)
		if share < 0 || share > time.Hour {
			t.Errorf("share %s of an hour", share)
		}
		seen[share.Truncate(time.Minute)] = true
	}
	if len(seen) < 30 {
		t.Errorf("100 versions have only %d different shares", len(seen))
	}
}
