package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

const pollInterval = 150 * time.Millisecond

type device struct {
	ID       string
	UserCode string `json:"user_code"`
	URI      string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
}

// beginDevice starts an attempt of user u1 on another device.
func (f *flowRig) beginDevice(t testing.TB, more string) device {
	t.Helper()
	got := f.do(t, "POST", pathDevice, `{"user_id":"u1","provider":"strict"`+more+`}`)
	if got.status != http.StatusCreated {
		t.Fatalf("device: %d %s", got.status, got.body)
	}
	return parse[device](t, got.body)
}

// await asks for the outcome of an attempt until it has one.
func (f *flowRig) await(t testing.TB, id string) (status string, e *events.Error) {
	t.Helper()
	for t.Context().Err() == nil {
		if out := f.outcome(t, id); out.Status != "pending" {
			return out.Status, out.Error
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the test ended before")
	return "", nil
}

func TestDeviceFlow(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Interval: pollInterval}})
	d := f.beginDevice(t, `,"scopes":["read"],"connection_name":"cli"`)
	if d.UserCode == "" || d.URI != f.as.URL+"/device" || !strings.HasSuffix(d.Complete, d.UserCode) || !strings.HasPrefix(d.ID, deviceFlow) {
		t.Fatalf("began %+v", d)
	}
	if kept := f.dump(t, bus.BucketStates); strings.Contains(kept, "dc_") {
		t.Errorf("the device code is kept in the clear: %s", kept)
	}
	if out := f.outcome(t, d.ID); out.Status != "pending" {
		t.Errorf("before: %+v", out)
	}
	if !f.as.Decide(d.UserCode, true) {
		t.Fatal("the provider does not know the code")
	}
	if status, e := f.await(t, d.ID); status != "connected" {
		t.Fatalf("%s: %v", status, e)
	}
	c := f.connections(t)
	if len(c) != 1 || c[0].Name != "cli" || c[0].Account != "octo" || len(c[0].Scopes) != 1 {
		t.Errorf("connected %+v", c)
	}
	if ledger := f.as.Ledger(); ledger.Devices != 1 {
		t.Errorf("ledger %+v", ledger)
	}
}

func TestDeviceDenied(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Interval: pollInterval}})
	d := f.beginDevice(t, "")
	f.as.Decide(d.UserCode, false)
	if status, e := f.await(t, d.ID); status != "failed" || e.ProviderCode != codeDenied || len(f.connections(t)) > 0 {
		t.Errorf("%s %+v", status, e)
	}
}

func TestDeviceCodeExpires(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Interval: pollInterval, CodeLife: time.Second}})
	d := f.beginDevice(t, "")
	for t.Context().Err() == nil { // either we see it first or the provider says it
		got := f.do(t, "GET", "/v1/flows/"+d.ID, "")
		if got.status == http.StatusNotFound || strings.Contains(got.body, `"failed"`) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestDeviceFlowOutlivesItsProcess begins an attempt at a service that never
// polls, because it does not run.
func TestDeviceFlowOutlivesItsProcess(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Interval: pollInterval}})
	dead, err := New(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	attempt, err := dead.flows.startDevice(t.Context(), startInput{UserID: "u1", Provider: "strict"})
	if err != nil {
		t.Fatal(err)
	}
	f.as.Decide(attempt.Device.UserCode, true)
	if status, e := f.await(t, attempt.ID); status != "connected" {
		t.Errorf("%s: %v", status, e)
	}
}

// TestOnePollAtATime has many replicas poll for one attempt at once.
func TestOnePollAtATime(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Interval: time.Hour}})
	d := f.beginDevice(t, "")
	f.as.Decide(d.UserCode, true)
	_, seen, err := f.flows.states.flow(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for range 12 {
		go func() { errs <- f.flows.poll(context.WithoutCancel(t.Context()), d.ID, seen) }()
	}
	for range 12 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if status, e := f.await(t, d.ID); status != "connected" {
		t.Errorf("%s: %v", status, e)
	}
	if ledger := f.as.Ledger(); ledger.Devices != 1 || ledger.Refused != 0 || len(f.connections(t)) != 1 {
		t.Errorf("ledger %+v", ledger)
	}
	if err := f.flows.poll(t.Context(), "dvc_unknown", 1); err != nil {
		t.Errorf("an attempt that is not there: %v", err)
	}
}

// TestLostPollIsTakenOver leaves the claim of a process that died.
func TestLostPollIsTakenOver(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Interval: pollInterval}})
	dead, err := New(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	attempt, err := dead.flows.startDevice(t.Context(), startInput{UserID: "u1", Provider: "strict"})
	if err != nil {
		t.Fatal(err)
	}
	f.as.Decide(attempt.Device.UserCode, true)
	for { // the service polls as well, until the claim is ours
		_, revision, err := f.flows.states.flow(t.Context(), attempt.ID)
		if err != nil {
			t.Fatal(err)
		}
		attempt.Device.Wait, attempt.Device.Polling = 300*time.Millisecond, true // instead of a whole lease
		if _, err := f.flows.states.put(t.Context(), *attempt, revision); err == nil {
			break
		} else if !errors.Is(err, errTaken) {
			t.Fatal(err)
		}
	}
	if status, e := f.await(t, attempt.ID); status != "connected" {
		t.Errorf("%s: %v", status, e)
	}
}

func TestTooManyDevices(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	f.flows.devices.waiting.Store(maxDevices)
	got := f.do(t, "POST", pathDevice, `{"user_id":"u1","provider":"strict"}`)
	if got.status != http.StatusTooManyRequests || got.problem(t).Code != events.CodeRateLimited {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestBack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		failure oauth.Failure
		want    time.Duration
	}{
		{"pending", oauth.Failure{Class: oauth.Pending, Code: "authorization_pending"}, 5 * time.Second},
		{"slow down", oauth.Failure{Class: oauth.Pending, Code: "slow_down"}, 10 * time.Second},
		{"slow down to", oauth.Failure{Class: oauth.Pending, Code: "slow_down", RetryAfter: 30 * time.Second}, 30 * time.Second},
		{"trouble", oauth.Failure{Class: oauth.Transient}, 10 * time.Second},
		{"trouble for long", oauth.Failure{Class: oauth.Transient, RetryAfter: time.Hour}, maxInterval},
	} {
		d := &deviceCode{Interval: 5 * time.Second, Polling: true}
		if d.back(&tt.failure); d.Wait != tt.want || d.Interval != tt.want || d.Polling {
			t.Errorf("%s: %+v, want %s", tt.name, d, tt.want)
		}
	}
}

// entryOf is a revision of an attempt as the watch brings it.
func entryOf(t testing.TB, revision uint64, f flow) jetstream.KeyValueEntry {
	value, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return deviceEntry{key: prefixDevice + f.ID, value: value, revision: revision}
}

type deviceEntry struct {
	jetstream.KeyValueEntry
	key      string
	value    []byte
	revision uint64
}

func (e deviceEntry) Key() string                     { return e.key }
func (e deviceEntry) Value() []byte                   { return e.value }
func (e deviceEntry) Revision() uint64                { return e.revision }
func (e deviceEntry) Operation() jetstream.KeyValueOp { return jetstream.KeyValuePut }

// TestQueue compares the queue with what it should hold, whatever comes.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			ids := make([]string, 4)
			for i := range ids {
				_, id := newToken()
				ids[i] = deviceFlow + id
			}
			q := &queue{places: map[string]*upcoming{}}
			due, latest := map[string]time.Time{}, map[string]uint64{} // what should wait, and its revision
			until := time.Now().Add(10 * time.Minute)
			for step := range rapid.Uint64Range(1, 40).Draw(r, "steps") {
				id := rapid.SampledFrom(ids).Draw(r, "id")
				switch rapid.IntRange(0, 3).Draw(r, "step") {
				case 0:
					wait := time.Duration(rapid.IntRange(0, 20).Draw(r, "wait")) * time.Second
					latest[id] = step
					q.take(entryOf(t, step, flow{ID: id, UserID: "u", Provider: "p", Status: flowPending, ExpiresAt: until, Device: &deviceCode{Wait: wait}}))
					due[id] = time.Now().Add(wait)
				case 1:
					q.take(entryOf(t, step, flow{ID: id, UserID: "u", Provider: "p", Status: flowConnected, Connected: "c", ExpiresAt: until}))
					delete(due, id)
				case 2:
					time.Sleep(time.Duration(rapid.IntRange(0, 30).Draw(r, "sleep")) * time.Second)
				case 3:
					now := time.Now()
					for _, got := range q.ready(now, len(ids)) {
						if at, ok := due[got.id]; !ok || at.After(now) || got.revision != latest[got.id] {
							r.Fatalf("%+v is ready, due %v", got, at)
						}
						due[got.id] = now.Add(pollAgain)
					}
					for id, at := range due {
						if !at.After(now) {
							r.Fatalf("%s was due at %v and is not ready at %v", id, at, now)
						}
					}
				}
				if len(q.places) != len(due) || len(q.heap) != len(due) {
					r.Fatalf("%d and %d wait, want %d", len(q.places), len(q.heap), len(due))
				}
				for i, d := range q.heap {
					if d.place != i {
						r.Fatal("the heap has lost a place")
					}
				}
			}
			time.Sleep(time.Hour)
			if left := q.ready(time.Now(), len(ids)); len(left) > 0 || len(q.heap) > 0 {
				r.Fatalf("%v wait after their time", left)
			}
		})
	})
}
