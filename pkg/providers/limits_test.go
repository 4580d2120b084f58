package providers

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const limitsOfLamp = `limits:
  - {id: primary, key: [connection], rate: 100/1m, observe: headers}
  - {id: room, key: [connection.account, params.room], rate: 20/1s}
  - {id: at_once, key: [app], concurrency: 7}
  - {id: everybody, key: [app], pause: 5s, when: 'header["x-scope"] == "global"'}
  - {id: method, key: [connection, action], pause: 1m}
actions:
`

func withLimits(t *testing.T) string {
	text := change(t, minimal, "actions:\n", limitsOfLamp)
	return change(t, text, "    effect: idempotent\n", "    effect: idempotent\n    limits: [room]\n    cost: {room: 2}\n")
}

func TestLimitsSayWhatIsWrong(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"id", "id: primary", "id: Primary", `lamp/provider.yaml:18: limits[0].id: must be a-z, then up to 39 of a-z, 0-9 and _`},
		{"id twice", "id: at_once", "id: primary", `lamp/provider.yaml:20: limits[2].id: primary is there twice`},
		{"rate", "100/1m", "100 a minute", `lamp/provider.yaml:18: limits[0].rate: must be a count and a duration such as 5000/1h or 1/1s, at most 1000 for each 1ms and up to 744h`},
		{"rate too high", "100/1m", "2000000/1s", `lamp/provider.yaml:18: limits[0].rate: must be a count and a duration`},
		{"no kind", "concurrency: 7", "burst: 7", `lamp/provider.yaml:20: limits[2]: needs one of rate, concurrency and pause`},
		{"two kinds", "concurrency: 7", "concurrency: 7, pause: 1s", `lamp/provider.yaml:20: limits[2]: needs one of rate, concurrency and pause`},
		{"burst without rate", "concurrency: 7", "concurrency: 7, burst: 1", `lamp/provider.yaml:20: limits[2].burst: must be a number above zero, and goes with a rate`},
		{"dimension", "key: [connection, action]", "key: [connexion]", `lamp/provider.yaml:22: limits[4].key[0]: must be app, connection, connection.account, action or params.NAME, did you mean connection?`},
		{"dimension twice", "key: [connection, action]", "key: [action, action]", `lamp/provider.yaml:22: limits[4].key[1]: action is there twice`},
		{"no key", "key: [connection, action]", "key: []", `lamp/provider.yaml:22: limits[4].key: must be a list of`},
		{"unknown property", "account, params.room", "account, params.rom", `lamp/provider.yaml:27: actions.lamps.set.limits: the key of room has params.rom, and params has no such property, did you mean room?`},
		{"object property", "account, params.room", "account, params.scene", `lamp/provider.yaml:27: actions.lamps.set.limits: the key of room has params.scene: params.properties.scene must have type string`},
		{"parameter for all", "    limits: [room]\n    cost: {room: 2}\n", "", `lamp/provider.yaml:19: limits[1].key: has a parameter: name room in the limits of the actions that have it`},
		{"unknown limit", "limits: [room]", "limits: [rom, room]", `lamp/provider.yaml:27: actions.lamps.set.limits[0]: no limit is called "rom", did you mean room?`},
		{"named twice", "limits: [room]", "limits: [room, room]", `lamp/provider.yaml:27: actions.lamps.set.limits[1]: room is there twice`},
		{"cost of no rate", "cost: {room: 2}", "cost: {at_once: 2}", `lamp/provider.yaml:28: actions.lamps.set.cost.at_once: no rate of this action is called "at_once"`},
		{"cost above burst", "cost: {room: 2}", "cost: {room: 3}", `lamp/provider.yaml:28: actions.lamps.set.cost.room: must be from 1 to the burst of room, which is 2`},
		{"form", "observe: headers", "observe: x-ratelimits", `lamp/provider.yaml:18: limits[0].observe: must be one of headers, ratelimit, ratelimit-*, x-ratelimit, did you mean x-ratelimit?`},
		{"observed pause", "pause: 1m", "pause: 1m, observe: headers", `lamp/provider.yaml:22: limits[4].observe: goes with a rate`},
		{"when of nothing", "concurrency: 7", "concurrency: 7, when: status == 429", `lamp/provider.yaml:20: limits[2].when: goes with a pause, with observe or with read`},
		{"read twice", "observe: headers", "observe: headers, read: {remaining: json:/left, reset: json:/reset}", `lamp/provider.yaml:18: limits[0].read.remaining: is read from the headers already`},
		{"read half", "observe: headers", "read: {remaining: json:/left}", `lamp/provider.yaml:18: limits[0].read: needs one of reset and restore beside remaining`},
		{"restore of what", "observe: headers", "read: {remaining: json:/left, restore: json:/rate}", `lamp/provider.yaml:18: limits[0].read: needs limit and restore together`},
		{"read of a form", "observe: headers", "read: {used: form:used}", `lamp/provider.yaml:18: limits[0].read.used: must be header:NAME or json:/pointer`},
		{"pause too long", "pause: 1m", "pause: 48h", `lamp/provider.yaml:22: limits[4].pause: must be at most 24h0m0s`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadText(t, change(t, withLimits(t), tt.old, tt.new))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error\n  %v\nwant\n  %s", err, tt.want)
			}
		})
	}
}

func lampLimits(t *testing.T, params string, on LimitsOn) (*Action, []BoundLimit) {
	t.Helper()
	a := mustLoad(t, withLimits(t)).Actions["lamps.set"]
	limits, err := a.Limits(json.RawMessage(params), on)
	if err != nil {
		t.Fatal(err)
	}
	return a, limits
}

func TestLimitsOfACall(t *testing.T) {
	_, limits := lampLimits(t, `{"room":"a:b","lamp":1}`, LimitsOn{Connection: "c1", Account: "acme"})
	type bound struct {
		At   string
		Cost int
		Own  bool
	}
	var got []bound
	for _, l := range limits {
		got = append(got, bound{l.At, l.Cost, l.Own})
	}
	want := []bound{
		{"primary:c1", 1, false}, // what other parameters keep apart counts here together
		{"room:acme:a=3Ab", 2, false},
		{"at_once", 1, false},
		{"everybody", 1, false},
		{"method:c1:lamps=2Eset", 1, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	_, limits = lampLimits(t, `{"room":"`+strings.Repeat("x", 10_000)+`"}`, LimitsOn{Connection: "acme"})
	if at := limits[1].At; at == "room:acme" || len(at) > 150 || !strings.HasPrefix(at, "room:connection=20acme:h-") {
		t.Errorf("key %q: a connection must not pass for an account, nor a value make a key long", at)
	}

	a := mustLoad(t, withLimits(t)).Actions["lamps.set"]
	if _, err := a.Limits(json.RawMessage(`[]`), LimitsOn{}); err == nil {
		t.Error("a list passed as parameters")
	}
}

// A rate is a connection's own where all that share it meet the same rates.
func TestOwnLimits(t *testing.T) {
	const limits = `limits:
  - {id: all, key: [connection], rate: 100/1m}
  - {id: too, key: [connection], rate: 10/1s}
  - {id: refused, key: [connection], pause: 1m}
actions:
  lamps.other:
    summary: Another one
    effect: idempotent
    limits: [OTHERS]
    request: {method: PUT, path: "/lamps/other"}
    params: {type: object, additionalProperties: false, properties: {}}
`
	tests := []struct {
		name, others, change string
		want                 []bool
	}{
		{"the same rates", "", "", []bool{true, true}},
		{"only one of them", "too", "", []bool{false, true}},
		{"of the app too", "", "key: [app]", []bool{true, false}},
		{"of an account", "", "key: [connection.account]", []bool{true, false}},
		{"of an action", "", "key: [connection, action]", []bool{false, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := change(t, minimal, "actions:\n", strings.Replace(limits, "OTHERS", tt.others, 1))
			if tt.change != "" {
				text = change(t, text, "id: too, key: [connection]", "id: too, "+tt.change)
			}
			bound, err := mustLoad(t, text).Actions["lamps.set"].Limits(json.RawMessage(`{}`), LimitsOn{Connection: "c1"})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, l := range bound {
				if l.Rate.Count > 0 {
					got[l.ID] = l.Own
				}
			}
			want := map[string]bool{"all": tt.want[0], "too": tt.want[1]}
			if tt.others != "" {
				delete(want, tt.others) // only of the other action
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	left := func(n int64, reset time.Duration) map[string]SeenWindow {
		return map[string]SeenWindow{"primary": {n, reset}}
	}
	tests := []struct {
		name   string
		header map[string]string
		want   map[string]SeenWindow
	}{
		{"nothing", nil, nil},
		{"structured", map[string]string{"RateLimit": `"default";r=50;t=30`}, left(50, 30*time.Second)},
		{"least of a list", map[string]string{"RateLimit": `"hour;r=1";r=500;t=3000, "minute, say";r=9;t=20;pk=:YQ==:`}, left(9, 20*time.Second)},
		{"earlier draft", map[string]string{"RateLimit": `limit=100, remaining=50, reset=5`}, left(50, 5*time.Second)},
		{"without seconds", map[string]string{"RateLimit": `"default";r=50`}, nil},
		{"three fields", map[string]string{"RateLimit-Remaining": "3", "RateLimit-Reset": "7", "X-RateLimit-Remaining": "99"}, left(3, 7*time.Second)},
		{"lists", map[string]string{"RateLimit-Remaining": "3, 9;w=60", "RateLimit-Reset": "7;w=60"}, left(3, 7*time.Second)},
		{"epoch", map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795860000"}, left(0, 3600*time.Second-at.Sub(time.Unix(1795856400, 0)))},
		{"epoch by the provider's clock", map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795860000", "Date": time.Unix(1795859940, 0).UTC().Format(http.TimeFormat),
		}, left(0, time.Minute)},
		{"delta", map[string]string{"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "60"}, left(12, time.Minute)},
		{"after", map[string]string{"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "1795860000", "X-RateLimit-Reset-After": "1.5"}, left(4, 1500*time.Millisecond)},
		{"other spelling", map[string]string{"X-Rate-Limit-Remaining": "4", "X-Rate-Limit-Reset": "2"}, left(4, 2*time.Second)},
		{"past", map[string]string{"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "1000000000"}, left(4, 0)},
		{"far", map[string]string{"X-RateLimit-Remaining": "1e300", "X-RateLimit-Reset": "999999999"}, left(1e12, 24*time.Hour)},
		{"negative", map[string]string{"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "5"}, nil},
		{"garbage", map[string]string{"X-RateLimit-Remaining": "many", "RateLimit": `";;==\`, "RateLimit-Remaining": "NaN"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, limits := lampLimits(t, `{"room":"a"}`, LimitsOn{Connection: "c1"})
			header := http.Header{}
			for name, value := range tt.header {
				header.Set(name, value)
			}
			got := a.Observe(limits, Response{Status: 200, Header: header, At: at})
			if diff := cmp.Diff(tt.want, got.Windows, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if got.Pause != nil {
				t.Error("a success paused")
			}
		})
	}
}

func TestObserveRefusal(t *testing.T) {
	exhausted := http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"600"}}
	tests := []struct {
		name   string
		header http.Header
		after  time.Duration
		want   string // the ID of the pause
	}{
		{"narrowest that speaks", nil, 0, "method"},
		{"with a time", nil, 7 * time.Second, "method"},
		{"for everybody", http.Header{"X-Scope": {"global"}}, 7 * time.Second, "everybody"},
		{"a window that ends by itself", exhausted, 0, ""},
		{"a window, and a time", exhausted, time.Minute, "method"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, limits := lampLimits(t, `{"room":"a"}`, LimitsOn{Connection: "c1"})
			got := a.Observe(limits, Response{Status: 429, Header: tt.header, Refused: true, RetryAfter: tt.after, At: time.Now()})
			id := ""
			if got.Pause != nil {
				id = got.Pause.ID
			}
			if id != tt.want || id != "" && got.For != tt.after {
				t.Errorf("pauses %q for %s, want %q for %s", id, got.For, tt.want, tt.after)
			}
		})
	}
}

// TestObserveBody reads a cost that stands in the body, as Shopify has it.
func TestObserveBody(t *testing.T) {
	text := change(t, withLimits(t), "observe: headers", `when: "body?.extensions?.cost != nil", read: {
    remaining: json:/extensions/cost/throttleStatus/currentlyAvailable, limit: json:/extensions/cost/throttleStatus/maximumAvailable,
    restore: json:/extensions/cost/throttleStatus/restoreRate, used: json:/extensions/cost/actualQueryCost}`)
	a := mustLoad(t, text).Actions["lamps.set"]
	limits, err := a.Limits(json.RawMessage(`{"room":"a"}`), LimitsOn{Connection: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	if !a.ObservesBody() {
		t.Error("the body is not asked for")
	}
	body := `{"data":{},"extensions":{"cost":{"requestedQueryCost":101,"actualQueryCost":46,
	  "throttleStatus":{"maximumAvailable":1000,"currentlyAvailable":950,"restoreRate":50}}}}`
	got := a.Observe(limits, Response{Status: 200, Body: []byte(body), At: time.Now()})
	want := Observation{Used: map[string]int{"primary": 46}, Windows: map[string]SeenWindow{"primary": {950, time.Second}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = a.Observe(limits, Response{Status: 200, Body: []byte(`{"extensions":{"cost":{"actualQueryCost":"x"}}}`), At: time.Now()})
	if len(got.Used)+len(got.Windows) > 0 {
		t.Errorf("something was read from nothing: %+v", got)
	}
}

func TestRate(t *testing.T) {
	for text, want := range map[string]string{"5000/1h": "", "1/1s": "", "900/1m": "", "80/90s": "80/1m30s", "7/60m": "7/1h", "3/1h30m": ""} {
		r, err := ParseRate(text)
		if want == "" {
			want = text
		}
		if err != nil || r.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, r, err, want)
		}
	}
	for _, text := range []string{"", "5", "0/1s", "-1/1s", "1/0s", "1/s", "1/1000h", "1/1s/1s", "9999999999/1h"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q was taken as %s", text, r)
		}
	}
}

func FuzzObserveHeaders(f *testing.F) {
	f.Add(`"default";r=50;t=30`, "5", "60", "1.5", "Sat, 28 Nov 2026 09:00:00 GMT")
	f.Add(`limit=100, remaining=50, reset=5`, "-1", "1795860000", "", "")
	f.Add(`"a\";r=1";r=`, "1e400", "NaN", "Inf", "x")
	l := &Limit{Observe: formAny}
	f.Fuzz(func(t *testing.T, structured, remaining, reset, after, date string) {
		header := http.Header{
			"Ratelimit": {structured}, "Ratelimit-Remaining": {remaining}, "Ratelimit-Reset": {reset}, "Date": {date},
			"X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}, "X-Ratelimit-Reset-After": {after},
		}
		for _, form := range observeForms() {
			l.Observe = form
			w, _ := l.window(&response{http: &HTTP{}, header: header}, time.Unix(1795856400, 0))
			if w.Remaining < 0 || w.Remaining > maxAmount || w.Reset < 0 || w.Reset > maxRetryAfter {
				t.Errorf("%s: %+v is out of bounds", form, w)
			}
		}
	})
}
