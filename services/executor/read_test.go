package executor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// shelfPack has lists of each kind, reads that may be kept, and a write that
// makes them old.
const shelfPack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: fake
version: 1.0.0
display: {name: Fake}
event_prefix: test.fake
auth:
  - {id: token, type: api_key, apply: {header: Authorization, value: "Bearer {{credential.token}}"}}
http: {base_url: "https://fake.invalid", etags: true}
actions:
  linked.list:
    summary: Lists by link
    effect: read
    paginate: {type: link, max_pages: 4}
    request: {method: GET, path: /linked, query: {page: "{{params.page}}"}}
    params: {type: object, additionalProperties: false, properties: {page: {type: integer}}}
  cursor.list:
    summary: Lists by cursor
    effect: read
    paginate: {type: cursor, param: cursor, next: json:/next, items: json:/items}
    request: {method: GET, path: /cursor, query: {cursor: "{{params.cursor}}"}}
    params: {type: object, additionalProperties: false, properties: {cursor: {type: string}}}
  things.get:
    summary: Reads a thing
    effect: read
    cache: 1m
    request: {method: GET, path: "/things/{{params.id}}", query: {q: "{{params.q}}"}}
    params: {type: object, required: [id], additionalProperties: false, properties: {id: {type: string}, q: {type: string}}}
  fresh.get:
    summary: Reads what is always asked for
    effect: read
    request: {method: GET, path: "/fresh"}
    params: {type: object, additionalProperties: false, properties: {}}
  things.put:
    summary: Replaces a thing
    effect: idempotent
    invalidates: [things.get]
    request: {method: PUT, path: "/things/{{params.id}}", body: {encoding: json}}
    params: {type: object, required: [id], additionalProperties: false, properties: {id: {type: string}}}
`

func shelf(t *testing.T) func(*Config) {
	t.Helper()
	pack, err := providers.Load(fstest.MapFS{"fake/provider.yaml": {Data: []byte(shelfPack)}}, "fake")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) {
		base := c.Providers.BaseURL("fake")
		if c.Providers, err = providers.NewRegistry(map[string]*providers.Pack{"fake": pack}, map[string]providers.App{"fake": {BaseURL: base}}); err != nil {
			t.Fatal(err)
		}
	}
}

// book serves seven pages of three items, each by link and by cursor, and counts.
type book struct {
	asked atomic.Int32
	item  string // what each item is; "": its number
}

func (b *book) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked.Add(1)
	page := 1
	if n, err := strconv.Atoi(r.URL.Query().Get("page") + r.URL.Query().Get("cursor")); err == nil {
		page = n
	}
	var items []string
	for i := range 3 {
		item := b.item
		if item == "" {
			item = strconv.Itoa(3*page + i)
		}
		items = append(items, item)
	}
	list := "[" + strings.Join(items, ",") + "]"
	next := ""
	if page < 7 {
		next = strconv.Itoa(page + 1)
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=%s>; rel="next"`, r.Host, r.URL.Path, next))
	}
	if r.URL.Path == "/cursor" {
		list = fmt.Sprintf(`{"items":%s,"next":%q}`, list, next)
	}
	_, _ = w.Write([]byte(list))
}

func TestPages(t *testing.T) {
	tests := []struct {
		name    string
		request events.ActionRequest
		data    string
		pages   int
		more    bool
		next    string
	}{
		{"one, by link", events.ActionRequest{Action: "linked.list"}, `[3,4,5]`, 1, true, `{"page":2}`},
		{"three, by link", events.ActionRequest{Action: "linked.list", MaxPages: 3}, `[3,4,5,6,7,8,9,10,11]`, 3, true, `{"page":4}`},
		{"no more than the pack allows", events.ActionRequest{Action: "linked.list", MaxPages: 1000}, `[3,4,5,6,7,8,9,10,11,12,13,14]`, 4, true, `{"page":5}`},
		{"the last two", events.ActionRequest{Action: "linked.list", MaxPages: 4, Params: json.RawMessage(`{"page":6}`)}, `[18,19,20,21,22,23]`, 2, false, ``},
		{"two, by cursor", events.ActionRequest{Action: "cursor.list", MaxPages: 2}, `{"items":[3,4,5,6,7,8],"next":"3"}`, 2, true, `{"cursor":"3"}`},
		{"all, by cursor", events.ActionRequest{Action: "cursor.list", MaxPages: 50, Params: json.RawMessage(`{"cursor":"5"}`)}, `{"items":[15,16,17,18,19,20,21,22,23],"next":""}`, 3, false, ``},
	}
	s := tell(t, (&book{}).ServeHTTP, shelf(t))
	s.start()
	for _, tt := range tests {
		tt.request.ID = tt.name
		s.request(tt.request)
	}
	got := map[string]events.Result{}
	for _, r := range s.results(len(tests)) {
		got[r.ID] = r
	}
	for _, tt := range tests {
		r := got[tt.name]
		if r.Outcome != events.Succeeded || string(r.Data) != tt.data || r.Pages != tt.pages || r.More != tt.more || string(r.Next) != tt.next || r.Attempts != 1 {
			t.Errorf("%s: got %+v, %v, data %s, next %s", tt.name, r, r.Error, r.Data, r.Next)
		}
	}
}

// What does not fit into a result is left to the next request.
func TestPagesAreBounded(t *testing.T) {
	b := &book{item: `"` + strings.Repeat("x", 100<<10) + `"`}
	s := tell(t, b.ServeHTTP, shelf(t))
	s.start()
	s.request(events.ActionRequest{Action: "cursor.list", MaxPages: 7})
	r := s.results(1)[0]
	if r.Outcome != events.Succeeded || r.Pages != 2 || !r.More || string(r.Next) != `{"cursor":"3"}` || len(r.Data) < 600<<10 || b.asked.Load() != 3 {
		t.Errorf("got %d pages, more %t, next %s, %d bytes, %v; %d were asked for", r.Pages, r.More, r.Next, len(r.Data), r.Error, b.asked.Load())
	}
}

func TestPagesAreSentByThemselves(t *testing.T) {
	b := &book{item: `"` + strings.Repeat("x", 200<<10) + `"`}
	s := tell(t, b.ServeHTTP, shelf(t))
	s.start()
	inbox := nats.NewInbox()
	pages, err := s.app.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	s.request(events.ActionRequest{ID: "r1", Action: "cursor.list", MaxPages: 5, StreamPages: true, Reply: inbox})
	for n := 1; n <= 5; n++ {
		msg, err := pages.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Header.Get(events.HeaderPage) != strconv.Itoa(n) || msg.Header.Get(events.HeaderID) != "r1" || !bytes.Contains(msg.Data, []byte(fmt.Sprintf(`"next":"%d"`, n+1))) {
			t.Fatalf("page %d has %v", n, msg.Header)
		}
	}
	msg, err := pages.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	r, err := events.ParseResult(msg.Data)
	if err != nil || r.Outcome != events.Succeeded || r.Pages != 5 || !r.More || string(r.Next) != `{"cursor":"6"}` || len(r.Data) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// Each page takes a slot of its own. Where the next one is far ahead, the pages
// in hand are the answer, and it says what leads on.
func TestPagesTakeSlots(t *testing.T) {
	text := strings.Replace(shelfPack, "actions:\n", "limits:\n  - {id: pages, key: [connection], rate: 1/1m, burst: 3}\nactions:\n", 1)
	s := tellPack(t, text, (&book{}).ServeHTTP)
	s.start()
	s.request(events.ActionRequest{ID: "a", Action: "cursor.list", Params: json.RawMessage(`{}`), MaxPages: 5})
	r := s.results(1)[0]
	if r.Outcome != events.Succeeded || r.Pages != 3 || !r.More || string(r.Next) != `{"cursor":"4"}` || s.provider.count() != 3 {
		t.Errorf("got %+v after %d calls", r, s.provider.count())
	}
}

func TestNoPages(t *testing.T) {
	s := tell(t, (&book{}).ServeHTTP, shelf(t))
	s.start()
	s.request(events.ActionRequest{ID: "a", Action: "fresh.get", MaxPages: 2})
	s.request(events.ActionRequest{ID: "b", Action: "things.put", Params: json.RawMessage(`{"id":"1"}`), StreamPages: true, Reply: "_INBOX.a"})
	for _, r := range s.results(2) {
		if r.Error == nil || r.Error.Code != events.CodeInvalidParams || !strings.Contains(r.Error.Message, "no pages") {
			t.Errorf("got %+v, %v", r, r.Error)
		}
	}
}

// stock serves things, counts how often each was asked for, and confirms ETags.
type stock struct {
	mu    sync.Mutex
	asked map[string]int
	state int
	wait  chan struct{} // nil: answers at once
	fail  atomic.Bool
}

func (d *stock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.wait != nil {
		<-d.wait
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked == nil {
		d.asked = map[string]int{}
	}
	if r.Method == http.MethodPut {
		d.state++
		_, _ = w.Write([]byte(`{}`))
		return
	}
	d.asked[r.URL.RequestURI()]++
	if d.fail.Load() {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	tag := fmt.Sprintf(`"%d"`, d.state)
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		d.asked["304"]++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = fmt.Fprintf(w, `{"state": %d, "text": "<&>"}`, d.state)
}

func (d *stock) count(uri string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[uri]
}

// ask has one request executed and returns its result.
func (s *story) ask(r events.ActionRequest) events.Result {
	s.Helper()
	stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamResults)
	if err != nil {
		s.Fatal(err)
	}
	before, err := stream.Info(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.request(r)
	all := s.results(int(before.State.Msgs) + 1)
	return all[len(all)-1]
}

func TestKeptAnswers(t *testing.T) {
	d, at := &stock{}, atomic.Int64{}
	clock := func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(at.Load())) } }
	s := tell(t, d.ServeHTTP, shelf(t), clock)
	s.start()
	thing := func(params string) events.ActionRequest {
		return events.ActionRequest{Action: "things.get", Params: json.RawMessage(params)}
	}
	first := s.ask(thing(`{"id":"1"}`))
	second := s.ask(thing(`{ "id" : "1" }`))
	if first.Cached || !second.Cached || second.Attempts != 0 || !bytes.Equal(first.Data, second.Data) || d.count("/things/1") != 1 {
		t.Errorf("first %+v %s, second %+v %s, asked %d times", first, first.Data, second, second.Data, d.count("/things/1"))
	}
	steps := []struct {
		name    string
		request events.ActionRequest
		cached  bool
		asked   int // for /things/1, in the end
	}{
		{"other parameters", thing(`{"id":"1","q":"x"}`), false, 1},
		{"another connection", events.ActionRequest{Action: "things.get", ConnectionID: "con_2", Params: json.RawMessage(`{"id":"1"}`)}, false, 2},
		{"another user", events.ActionRequest{UserID: "u2", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)}, false, 3},
		{"asked anew", events.ActionRequest{Action: "things.get", Cache: events.NoCache, Params: json.RawMessage(`{"id":"1"}`)}, false, 4},
		{"still kept", thing(`{"id":"1"}`), true, 4},
		{"a write to another thing", events.ActionRequest{Action: "things.put", Params: json.RawMessage(`{"id":"2"}`)}, false, 4},
		{"kept after that", thing(`{"id":"1"}`), true, 4},
		{"a write to it", events.ActionRequest{Action: "things.put", Params: json.RawMessage(`{"id":"1"}`)}, false, 4},
		{"old after that", thing(`{"id":"1"}`), false, 5},
	}
	for _, step := range steps {
		if r := s.ask(step.request); r.Cached != step.cached || r.Outcome != events.Succeeded || d.count("/things/1") != step.asked {
			t.Errorf("%s: cached is %t, %v, asked %d times", step.name, r.Cached, r.Error, d.count("/things/1"))
		}
	}
	at.Store(int64(2 * time.Minute)) // over the pack's minute: it is asked whether it holds
	if r := s.ask(thing(`{"id":"1"}`)); !r.Cached || string(r.Data) != `{"state":2,"text":"<&>"}` || d.count("304") != 1 {
		t.Errorf("revalidated: %+v %s, %d times", r, r.Data, d.count("304"))
	}
	at.Store(int64(30 * time.Minute))
	if r := s.ask(events.ActionRequest{Action: "things.get", Cache: time.Hour, Params: json.RawMessage(`{"id":"1"}`)}); !r.Cached || r.Attempts != 0 || d.count("304") != 1 {
		t.Errorf("the caller takes an hour: %+v", r)
	}
}

// Without any age allowed, the provider is asked each time whether what is kept
// still holds.
func TestRevalidation(t *testing.T) {
	d := &stock{}
	s := tell(t, d.ServeHTTP, shelf(t))
	s.start()
	for n := range 3 {
		if r := s.ask(events.ActionRequest{Action: "fresh.get"}); r.Cached != (n > 0) || string(r.Data) != `{"state":0,"text":"<&>"}` || r.Attempts != 1 {
			t.Errorf("%d: got %+v %s", n, r, r.Data)
		}
	}
	s.ask(events.ActionRequest{Action: "things.put", Params: json.RawMessage(`{"id":"1"}`)})
	if r := s.ask(events.ActionRequest{Action: "fresh.get"}); r.Cached || string(r.Data) != `{"state":1,"text":"<&>"}` || d.count("304") != 2 {
		t.Errorf("got %+v %s", r, r.Data)
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	d := &stock{}
	d.fail.Store(true)
	s := tell(t, d.ServeHTTP, shelf(t))
	s.start()
	if r := s.ask(events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)}); r.Outcome != events.Failed || r.Cached {
		t.Errorf("got %+v", r)
	}
	d.fail.Store(false)
	if r := s.ask(events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)}); r.Outcome != events.Succeeded || r.Cached {
		t.Errorf("got %+v, %v", r, r.Error)
	}
}

// Of many that ask the same at once one goes to the provider.
func TestSameQuestionIsAskedOnce(t *testing.T) {
	d := &stock{wait: make(chan struct{})}
	s := tell(t, d.ServeHTTP, shelf(t))
	s.start()
	const n = 20
	for range n {
		s.request(events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	}
	s.eventually("all of them at work", func() bool {
		consumer, err := s.bus.JetStream().Consumer(t.Context(), events.StreamActions, "executor")
		if err != nil {
			return false
		}
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumAckPending == n && info.NumPending == 0
	})
	close(d.wait)
	cached := 0
	for _, r := range s.results(n) {
		if r.Cached {
			cached++
		}
	}
	if cached != n-1 || d.count("/things/1") != 1 {
		t.Errorf("%d were cached, %d asked", cached, d.count("/things/1"))
	}
}
