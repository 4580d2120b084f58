package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// effectPack has what the fake provider needs to play each effect.
const effectPack = fakePack + `
  orders.list:
    summary: Lists orders
    effect: read
    paginate: {type: cursor, param: cursor, next: json:/next}
    request: {method: GET, path: /orders, query: {cursor: "{{params.cursor}}"}}
    params: {type: object, additionalProperties: false, properties: {cursor: {type: integer}}}
  orders.mark:
    summary: Makes an order that is found again
    effect: reconcile
    retry: {base: 10ms}
    idempotency:
      stamp: {at: /title, append: " #{{key}}"}
      find: [{action: orders.list, items: json:/orders, match: item.title contains key, complete: body.more == false, after: 50ms, looks: 2}]
    request: {method: POST, path: /orders, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string}}}
  orders.key:
    summary: Makes an order once for each key
    effect: keyed
    retry: {base: 10ms}
    idempotency: {header: Idempotency-Key}
    request: {method: POST, path: /orders, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string}}}
  orders.none:
    summary: Makes an order
    effect: none
    retry: {base: 10ms}
    request: {method: POST, path: /orders, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string}}}
`

// orders is a provider that carries out, or not, and answers, or not.
type orders struct {
	mu     sync.Mutex
	script []string // of the next writes, see play
	hide   int      // how many lists come before what was made last
	more   bool     // the list is never whole
	paged  bool     // the list has one order on each page
	made   []string
	keys   map[string]bool
	writes int

	fault func(title string, nth int) string // what happens to the nth write of a title, from 1, after the script
	asked map[string]int                     // :: title → writes
}

func (o *orders) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.list(w, r)
		return
	}
	step, made := o.take(r)
	play(w, r, step, made)
}

// take decides about a write, and carries it out or not.
func (o *orders) take(r *http.Request) (step string, made bool) {
	var body struct{ Title string }
	raw, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(raw, &body)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked == nil {
		o.asked, o.keys = map[string]int{}, map[string]bool{}
	}
	o.writes++
	o.asked[body.Title]++
	step = "200"
	switch {
	case len(o.script) > 0:
		step, o.script = o.script[0], o.script[1:]
	case o.fault != nil:
		step = o.fault(body.Title, o.asked[body.Title])
	}
	step, made = strings.CutSuffix(step, " made")
	if made = made || step == "200" || step == "lose"; made {
		o.make(r.Header.Get("Idempotency-Key"), body.Title)
	}
	return step, made
}

// play answers a write: lose and drop cut the connection, hang does not answer,
// else it is a status. Before it, " made" says that the write was carried out
// all the same.
func play(w http.ResponseWriter, r *http.Request, step string, made bool) {
	switch step {
	case "drop", "lose":
		cut(w)
	case "hang":
		<-r.Context().Done()
	case "200":
		_, _ = io.WriteString(w, `{"ok":true}`)
	default:
		var status int
		_, _ = fmt.Sscan(step, &status)
		if !made {
			w.Header().Set("Retry-After", "0.2")
		}
		w.WriteHeader(status)
	}
}

func (o *orders) make(key, title string) {
	if key != "" && o.keys[key] {
		return
	}
	o.keys[key] = true
	o.made = append(o.made, title)
}

func (o *orders) list(w http.ResponseWriter, r *http.Request) {
	shown := o.made
	if o.hide > 0 {
		o.hide--
		shown = nil
	}
	items := []map[string]string{}
	for _, title := range shown {
		items = append(items, map[string]string{"title": title})
	}
	answer := map[string]any{"orders": items, "more": o.more}
	if at, _ := strconv.Atoi(r.URL.Query().Get("cursor")); o.paged && at < len(items) {
		answer["orders"] = items[at : at+1]
		if at+1 < len(items) {
			answer["next"], answer["more"] = at+1, true
		}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func cut(w http.ResponseWriter) {
	conn, _, _ := w.(http.Hijacker).Hijack()
	conn.Close()
}

// tellOrders is a story with that provider. Its own reading of the body comes
// first, so it is given back.
func tellOrders(t *testing.T, o *orders, change ...func(*Config)) *story {
	t.Helper()
	return tellPack(t, effectPack, o.serve, change...)
}

func order(action string) events.ActionRequest {
	return events.ActionRequest{ID: "r1", Action: action, Params: json.RawMessage(`{"title":"a"}`)}
}

func TestEffects(t *testing.T) {
	atLeastOnce := func(r *events.ActionRequest) { r.Delivery = events.AtLeastOnce }
	tests := []struct {
		name     string
		action   string
		provider *orders
		change   func(*events.ActionRequest)
		outcome  events.Outcome
		code     events.Code
		made     int
		writes   int
	}{
		{"carried out, answer lost, found", "orders.mark", &orders{script: []string{"lose"}}, nil, events.Succeeded, "", 1, 1},
		{"found by the second look", "orders.mark", &orders{script: []string{"lose"}, hide: 1}, nil, events.Succeeded, "", 1, 1},
		{"not carried out, not found, again", "orders.mark", &orders{script: []string{"drop"}}, nil, events.Succeeded, "", 1, 2},
		{"5xx but carried out", "orders.mark", &orders{script: []string{"lose", "lose"}}, nil, events.Succeeded, "", 1, 1},
		{"perhaps on the next page", "orders.mark", &orders{script: []string{"drop"}, more: true}, nil, events.Unknown, events.CodeOutcomeUnknown, 0, 1},
		{"never carried out, no attempt left", "orders.mark", &orders{script: []string{"drop", "drop"}}, func(r *events.ActionRequest) { r.MaxAttempts = 2 }, events.Failed, events.CodeProviderUnavailable, 0, 2},
		{"keyed, answer lost twice", "orders.key", &orders{script: []string{"lose", "lose"}}, nil, events.Succeeded, "", 1, 3},
		{"keyed, 500 then refused", "orders.key", &orders{script: []string{"500", "422"}}, nil, events.Failed, events.CodeProviderRejected, 0, 2},
		{"none, answer lost", "orders.none", &orders{script: []string{"lose"}}, nil, events.Unknown, events.CodeOutcomeUnknown, 1, 1},
		{"none, answer lost, twice is better than never", "orders.none", &orders{script: []string{"lose"}}, atLeastOnce, events.Succeeded, "", 2, 2},
		{"none, throttled", "orders.none", &orders{script: []string{"429", "429"}}, func(r *events.ActionRequest) { r.MaxAttempts = 1 }, events.Succeeded, "", 1, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tellOrders(t, tt.provider)
			s.start()
			r := order(tt.action)
			if tt.change != nil {
				tt.change(&r)
			}
			s.request(r)
			got := s.results(1)[0]
			var code events.Code
			if got.Error != nil {
				code = got.Error.Code
			}
			o := tt.provider
			o.mu.Lock()
			defer o.mu.Unlock()
			if got.Outcome != tt.outcome || code != tt.code || len(o.made) != tt.made || o.writes != tt.writes || got.Attempts != tt.writes {
				t.Errorf("%s %s, %d attempts, made %q in %d writes: %v", got.Outcome, code, got.Attempts, o.made, o.writes, got.Error)
			}
		})
	}
}

// What was tried in vain is kept with all it takes to send it again.
// A write may be on any page of the list, within a bound; what is beyond it is
// unknown.
func TestLookReadsPages(t *testing.T) {
	for others, outcome := range map[int]events.Outcome{0: events.Succeeded, 3: events.Succeeded, maxLookPages - 1: events.Succeeded, maxLookPages: events.Unknown} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			t.Parallel()
			o := &orders{script: []string{"lose"}, paged: true, made: make([]string, others)}
			s := tellOrders(t, o)
			s.start()
			s.request(order("orders.mark"))
			r := s.results(1)[0]
			if r.Outcome != outcome || o.writes != 1 || (outcome == events.Succeeded) != strings.Contains(string(r.Data), "a #") {
				t.Errorf("%s %s %v after %d writes", r.Outcome, r.Data, r.Error, o.writes)
			}
		})
	}
	t.Run("it is on none", func(t *testing.T) {
		t.Parallel()
		o := &orders{script: []string{"drop"}, paged: true, made: make([]string, 5)}
		s := tellOrders(t, o)
		s.start()
		s.request(order("orders.mark"))
		if r := s.results(1)[0]; r.Outcome != events.Succeeded || o.writes != 2 || len(o.made) != 6 {
			t.Errorf("%s %v after %d writes", r.Outcome, r.Error, o.writes)
		}
	})
}

func TestGivenUpIsKept(t *testing.T) {
	s := tellOrders(t, &orders{script: []string{"drop", "drop", "drop"}})
	s.start()
	r := order("orders.mark")
	r.MaxAttempts, r.ConnectionID = 2, "con_7"
	s.request(r)
	if got := s.results(1)[0]; got.Outcome != events.Failed || got.Attempts != 2 {
		t.Errorf("got %+v", got)
	}
	s.deadLetters(1)
	stream, err := s.bus.JetStream().Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := stream.GetLastMsgForSubject(t.Context(), "plugfn.dead.action.u1.fake.orders.mark")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		events.HeaderReason: "no attempt is left", events.HeaderAttempts: "2", events.HeaderErrorCode: "provider_unavailable",
		events.HeaderOutcome: "failed", events.HeaderID: "r1", events.HeaderConnection: "con_7",
	}
	for name, value := range want {
		if got := dead.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if string(dead.Data) != `{"title":"a"}` {
		t.Errorf("parameters %s", dead.Data)
	}
}

// A deadline ends what waits for its next attempt, and the result is the error
// of the last one.
func TestDeadlineWhileThrottled(t *testing.T) {
	s := tellOrders(t, &orders{script: strings.Split(strings.Repeat("429,", 50), ",")})
	s.start()
	r := order("orders.none")
	r.Deadline = time.Now().Add(time.Second)
	s.request(r)
	got := s.results(1)[0]
	if got.Outcome != events.Failed || got.Error.Code != events.CodeRateLimited || got.FinishedAt.After(r.Deadline.Add(500*time.Millisecond)) {
		t.Errorf("got %+v, %v", got, got.Error)
	}
	s.deadLetters(1)
}

// The work breaks off at every step, as if the executor had died there.
// Whatever the step is, a write that can be found again or bears a key is made
// once, any other at most once, and there is one result, which is true.
func TestDeathAtEveryStep(t *testing.T) {
	for _, at := range []point{pointClaimed, pointAnswered, pointWaiting, pointBuried, pointConcluded} {
		for _, action := range []string{"orders.mark", "orders.key", "orders.none"} {
			t.Run(string(at)+" "+action, func(t *testing.T) {
				t.Parallel()
				o := &orders{script: map[point][]string{pointWaiting: {"429"}, pointBuried: {"429", "drop", "drop", "drop"}}[at]}
				s := tellOrders(t, o)
				var died atomic.Bool
				s.reached = func(p point, _ string) error {
					if p == at && died.CompareAndSwap(false, true) {
						return errors.New("died at " + string(p))
					}
					return nil
				}
				s.start()
				r := order(action)
				r.MaxAttempts = 3
				s.request(r)
				got := s.results(1)[0]
				o.mu.Lock()
				defer o.mu.Unlock()
				switch {
				case !died.Load() && (at != pointBuried || action != "orders.none"):
					t.Error("that step was never reached")
				case len(o.made) > 1 || got.Outcome == events.Succeeded && len(o.made) == 0 || got.Outcome == events.Failed && len(o.made) > 0:
					t.Errorf("made %q, got %+v, %v", o.made, got, got.Error)
				case action != "orders.none" && at != pointBuried && got.Outcome != events.Succeeded:
					t.Errorf("got %+v, %v", got, got.Error)
				}
			})
		}
	}
}

// To go on with what an executor has left behind is no retry of a provider that
// fails: it needs nothing of its budget.
func TestDeathNeedsNoBudget(t *testing.T) {
	s := tell(t, nil)
	s.tune = func(service *Service) {
		service.health = newHealth(0)
		service.health.pulse("fake", s.provider.URL).budget.left = 0
	}
	var died atomic.Bool
	s.reached = func(p point, _ string) error {
		if p == pointClaimed && died.CompareAndSwap(false, true) {
			return errors.New("died")
		}
		return nil
	}
	s.start()
	s.request(events.ActionRequest{ID: "r1", Action: "things.put", Params: json.RawMessage(`{"title":"a"}`)})
	if r := s.results(1)[0]; r.Outcome != events.Succeeded || !died.Load() {
		t.Errorf("got %+v, %v", r, r.Error)
	}
}

// A provider that fails is left alone: its requests wait and are not failed.
func TestBreaker(t *testing.T) {
	o := &orders{script: strings.Split(strings.TrimSuffix(strings.Repeat("500,", breakerLeast), ","), ",")}
	s := tellOrders(t, o)
	s.start()
	for i := range breakerLeast {
		r := order("orders.none")
		r.ID = fmt.Sprint("first", i)
		s.request(r)
	}
	s.results(breakerLeast)
	s.request(order("orders.none"))
	s.idle()
	o.mu.Lock()
	writes := o.writes
	o.mu.Unlock()
	if writes != breakerLeast {
		t.Errorf("the provider was asked %d times, want %d", writes, breakerLeast)
	}
	stream, err := s.bus.JetStream().Stream(t.Context(), events.StreamLater)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetLastMsgForSubject(t.Context(), events.LaterSubject("action", "u1", "r1")); err != nil {
		t.Errorf("the request does not wait: %v", err)
	}
}

func TestBudget(t *testing.T) {
	b := budget{second: budgetSecond}
	now := time.Unix(1_800_000_000, 0)
	for range 100 {
		b.take(now, false)
	}
	retries := 0
	for range 50 {
		if b.take(now, true) {
			retries++
		}
	}
	if retries < 9 || retries > 10 {
		t.Errorf("%d retries after 100 requests, want a tenth", retries)
	}
	if !b.take(now.Add(time.Second), true) || b.take(now.Add(time.Second), true) {
		t.Error("want one retry for each second")
	}
}
