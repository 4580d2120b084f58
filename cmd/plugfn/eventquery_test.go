package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// TestNewestEvents reads back over several windows, and finds what is rare.
func TestNewestEvents(t *testing.T) {
	b := bustest.New(t)
	const n = 2500
	for i := range n {
		e := events.Event{
			ID: fmt.Sprint("d", i), Source: "/plugfn/github/app/_", Type: "com.github.push", Provider: "github", EventName: "push",
			Account: fmt.Sprint(i % 2), Data: []byte("{}"),
		}
		if i == 3 {
			e.Account = "rare"
		}
		if _, err := b.JetStream().PublishMsgAsync(e.Msg(events.EventSubject(fmt.Sprint("u", i%3), "github", "push"))); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-b.JetStream().PublishAsyncComplete():
	case <-time.After(20 * time.Second):
		t.Fatal("not stored")
	}
	list := func(filter eventFilter, before uint64, limit int) ([]*storedEvent, bool) {
		t.Helper()
		if err := filter.check(time.Now()); err != nil {
			t.Fatal(err)
		}
		s, err := openEvents(t.Context(), b.Conn(), &filter)
		if err != nil {
			t.Fatal(err)
		}
		if before == 0 {
			before = s.last()
		}
		all, more, err := s.newest(t.Context(), before, limit)
		if err != nil {
			t.Fatal(err)
		}
		return all, more
	}
	if all, more := list(eventFilter{account: "rare"}, 0, 2); len(all) != 1 || more || all[0].ID != "d3" || all[0].bytes != 2 {
		t.Errorf("the rare one: %d, %v", len(all), more)
	}
	if all, more := list(eventFilter{user: "u1"}, 0, 2); len(all) != 2 || !more || all[0].ID != "d2497" || all[1].ID != "d2494" {
		t.Errorf("the newest of a user: %d, %v", len(all), more)
	}
	seen := map[string]bool{}
	for before, more := uint64(0), true; more; {
		var page []*storedEvent
		page, more = list(eventFilter{provider: "github"}, before, 700)
		for _, e := range page {
			if seen[e.ID] {
				t.Fatalf("%s is there twice", e.ID)
			}
			seen[e.ID] = true
		}
		before = page[len(page)-1].sequence
	}
	if len(seen) != n {
		t.Errorf("all pages hold %d events", len(seen))
	}
	if all, more := list(eventFilter{until: "1h"}, 0, 5); len(all) != 0 || more {
		t.Errorf("older than an hour: %d, %v", len(all), more)
	}
}

// TestReplayedEvent keeps all but the id.
func TestReplayedEvent(t *testing.T) {
	e := storedEvent{subject: "plugfn.event.u1.github.push", Event: events.Event{
		ID: "d1", Source: "/plugfn/github/app/con_1", Type: "com.github.push", UserID: "u1", Data: []byte("{}"),
		Extensions: map[string]string{"githubhookid": "7"},
	}}
	e.header = e.Msg(e.subject).Header
	e.header.Set("Nats-Msg-Id", "old")
	e.header.Set("Other", "kept")
	r := replay{run: "one"}
	first := r.msg(&e)
	again, err := events.ParseEvent(first.Header, first.Data)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != "d1:one" || again.Extensions[replayOf] != "d1" || again.Extensions["githubhookid"] != "7" || again.UserID != "u1" ||
		first.Subject != e.subject || first.Header.Get("Other") != "kept" || first.Header.Get("Nats-Msg-Id") == "old" {
		t.Errorf("got %+v", first)
	}
	// A replay of the replay names the first one, and so is the same of the same run.
	e.Event, e.header = again, first.Header
	if second := r.msg(&e); second.Header.Get("Nats-Msg-Id") != first.Header.Get("Nats-Msg-Id") || second.Header.Get("ce-replayof") != "d1" {
		t.Errorf("got %+v", second.Header)
	}
	e.Source = "/plugfn/github/app/con_2"
	if other := r.msg(&e); other.Header.Get("Nats-Msg-Id") == first.Header.Get("Nats-Msg-Id") {
		t.Error("the event of another connection is taken for the same")
	}
}

func TestEventFilterSubject(t *testing.T) {
	for want, f := range map[string]eventFilter{
		"plugfn.event.*.*.>":                 {},
		"plugfn.event.u=201.github.issues.*": {user: "u 1", provider: "github", event: "issues.*"},
		"plugfn.dead.event.*.slack.>":        {provider: "slack", dead: true},
		"plugfn.event.*.=3E.>":               {provider: ">"},
	} {
		if got := f.subject(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, event := range []string{"a b", ">.a", "", "."} {
		f := eventFilter{event: event}
		if err := f.check(time.Now()); (err == nil) != (event == "") {
			t.Errorf("event %q: %v", event, err)
		}
	}
}

func TestPauseOf(t *testing.T) {
	for rate, want := range map[string]time.Duration{"100/s": 10 * time.Millisecond, "30/m": 2 * time.Second, "1": time.Second} {
		if got, err := pauseOf(rate); got != want || err != nil {
			t.Errorf("%s: %s, %v", rate, got, err)
		}
	}
	for _, rate := range []string{"", "0", "-1/s", "1/h", "1/s/s", strings.Repeat("9", 30)} {
		if _, err := pauseOf(rate); err == nil {
			t.Errorf("%q was taken", rate)
		}
	}
}
