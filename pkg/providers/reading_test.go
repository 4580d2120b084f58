package providers

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestReadContentType(t *testing.T) {
	const asJSON, asForm = `{"type":"json"}`, "type=form"
	tests := map[string]struct {
		bodies, contentType, body string
		event, stored             string // name of the event and content type
		err                       error
	}{
		"JSON":                      {"[json]", "application/json", asJSON, "json", jsonType, nil},
		"JSON with a charset":       {"[json]", "Application/JSON; charset=utf-8", asJSON, "json", jsonType, nil},
		"JSON of a kind":            {"[json]", "application/cloudevents+json", asJSON, "json", "application/cloudevents+json", nil},
		"JSON without a type":       {"[json]", "", " \n" + asJSON, "json", jsonType, nil},
		"JSON that is none":         {"[json]", "application/json", asForm, "", "", ErrUnparsable},
		"JSON and more":             {"[json]", "application/json", asJSON + "x", "", "", ErrUnparsable},
		"an empty body":             {"[json]", "application/json", "", "", "", ErrUnparsable},
		"an empty body of no type":  {"[json]", "", "", "", "", ErrContentType},
		"no type and no JSON":       {"[json, form]", "", asForm, "", "", ErrContentType},
		"text":                      {"[json, form]", "text/plain", asJSON, "", "", ErrContentType},
		"a type with a long name":   {"[json]", "application/" + strings.Repeat("x", 200) + "+json", asJSON, "", "", ErrContentType},
		"a type that is none":       {"[json]", "application/json; =", asJSON, "", "", ErrContentType},
		"JSON where it is not sent": {"[form]", "application/json", asJSON, "", "", ErrContentType},
		"a form":                    {"[form]", formType, asForm, "form", formType, nil},
		"a form where it is not":    {"[json]", formType, asForm, "", "", ErrContentType},
		"JSON in a form":            {"[form:payload, form]", formType, "a=b&payload=" + url.QueryEscape(asJSON), "json", formType, nil},
		"a form and no JSON in it":  {"[form:payload, form]", formType, asForm, "form", formType, nil},
		"JSON missing in a form":    {"[form:payload]", formType, asForm, "", "", ErrUnparsable},
		"broken JSON in a form":     {"[form:payload, form]", formType, "payload=%7B&" + asForm, "", "", ErrUnparsable},
		"broken escapes in a form":  {"[form:payload, form]", formType, "payload=%7", "", "", ErrUnparsable},
		"broken names in a form":    {"[form]", formType, "%z=1&" + asForm, "", "", ErrUnparsable},
		"too many fields":           {"[form]", formType, strings.Repeat("&", 1000) + asForm, "", "", ErrUnparsable},
		"JSON said to be a form":    {"[json, form:payload, form]", formType, ` {"type":"json","text":"&payload={}&type=forged"}`, "", "", ErrUnparsable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fields := "event: [json:/type, form:type]"
			switch tt.bodies {
			case "[json]":
				fields = "event: [json:/type]"
			case "[form]":
				fields = "event: [form:type]"
			}
			w := demo(t, demoWith("bodies: "+tt.bodies, fields))
			d := received(tt.body)
			if tt.contentType != "" {
				d.Header.Set("Content-Type", tt.contentType)
			}
			r, err := w.Read(d)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			n, err := r.Event()
			if err != nil || n.Name != tt.event || n.ContentType != tt.stored {
				t.Errorf("got event %q of %q, %v; want %q of %q", n.Name, n.ContentType, err, tt.event, tt.stored)
			}
		})
	}
}

// eventOf reads the event of a JSON delivery.
func eventOf(t *testing.T, w *Webhooks, body string, headers ...string) (Normalized, error) {
	t.Helper()
	d := received(body, headers...)
	d.Header.Set("Content-Type", jsonType)
	r, err := w.Read(d)
	if err != nil {
		t.Fatal(err)
	}
	return r.Event()
}

func TestEvent(t *testing.T) {
	w := demo(t, demoWith(
		"delivery_id: [header:X-Id, json:/id]",
		`event: [[header:X-Event, "json:/action?", "json:/sub?"], json:/type]`,
		"subject: [[json:/repo, text:issues, json:/number], json:/repo]",
		"account: [json:/team, json:/owner/id]",
		"order: [header:X-Order, json:/repo]",
		"time: [{from: json:/at, format: rfc3339}, {from: json:/at, format: unix}, {from: json:/at_ms, format: unix_ms}]",
		"keep_headers: [X-Retry-Num]",
	))
	long := strings.Repeat("x", 300)
	tests := map[string]struct {
		body    string
		headers []string
		want    Normalized
	}{
		"all there": {
			`{"id":"d1","action":"opened","repo":"o/r","number":7,"team":"T1","owner":{"id":5},"at":"2026-01-02T03:04:05+01:00"}`,
			[]string{"X-Event", "issues", "X-Id", "h1", "X-Retry-Num", "2", "X-Order", "k"},
			Normalized{ID: "h1", Name: "issues.opened", Subject: "o/r/issues/7", Account: "T1", PartitionKey: "k", Time: time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC), Headers: map[string]string{"retrynum": "2"}},
		},
		"only what is needed": {
			`{"type":"ping"}`, nil,
			Normalized{ID: "sha256-cdeb977b07509618335ceaa57b4b76fe3ec9c72f50102f74dcfbab92228ec6fb", Name: "ping"},
		},
		"the next alternatives": {
			`{"id":17,"sub":"x","repo":"o/r","team":"","owner":{"id":5},"at":1767323045}`,
			[]string{"X-Event", "e"},
			Normalized{ID: "17", Name: "e.x", Subject: "o/r", Account: "5", PartitionKey: "o/r", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		},
		"what is no text is absent": {
			`{"id":{},"type":"t","action":["x"],"repo":null,"team":[1],"at":true,"at_ms":1767323045678}`,
			[]string{"X-Id", "i"},
			Normalized{ID: "i", Name: "t", Time: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)},
		},
		"an event with any bytes": {
			`{"type":"a b.*.>.\u0000é."}`,
			[]string{"X-Id", "i"},
			Normalized{ID: "i", Name: "a b.*.>.\x00é."},
		},
		"what is too long": {
			`{"type":"t","id":"` + long + `","team":"` + long + `","repo":"` + long + long + `"}`,
			[]string{"X-Retry-Num", long + long},
			Normalized{ID: hashOf([]byte(long)), Name: "t", Account: hashOf([]byte(long)), PartitionKey: hashOf([]byte(long + long))},
		},
		"times that cannot be": {
			`{"type":"t","at":"1999-12-31T23:59:59Z","at_ms":4133980800000}`,
			[]string{"X-Id", "i"},
			Normalized{ID: "i", Name: "t"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := eventOf(t, w, tt.body, tt.headers...)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			want.Type, want.ContentType, want.Data = "com.demo."+want.Name, jsonType, []byte(tt.body)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEventWithoutName(t *testing.T) {
	w := demo(t, demoWith(`event: [[header:X-Event, "json:/action?"]]`))
	for name, headers := range map[string][]string{
		"no header":       nil,
		"an empty header": {"X-Event", ""},
		"too long a name": {"X-Event", strings.Repeat("x", maxValue)},
	} {
		if n, err := eventOf(t, w, `{"action":"a"}`, headers...); !errors.Is(err, ErrUnparsable) {
			t.Errorf("%s: got event %q, %v; want ErrUnparsable", name, n.Name, err)
		}
	}
}

func TestQuerySource(t *testing.T) {
	w := demo(t, demoWith("event: [query:topic]"))
	d := received("{}", "Content-Type", jsonType)
	d.URL = &url.URL{Path: "/webhooks/demo", RawQuery: "topic=a%20b"}
	r, err := w.Read(d)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Event(); err != nil || n.Name != "a b" {
		t.Errorf("got event %q, %v; want a b", n.Name, err)
	}
}

func TestHandshake(t *testing.T) {
	w := demo(t, demoWith("handshake: [{when: {json:/type: verify, header:X-Event: hello}, respond: {text: json:/challenge}}, {when: {json:/type: ping}, respond: {status: 204}}]"))
	tests := map[string]struct {
		body  string
		reply *HandshakeReply
		event string
	}{
		"a token":         {`{"type":"verify","challenge":"aZ09._~-"}`, &HandshakeReply{Status: 200, ContentType: "text/plain; charset=utf-8", Body: []byte("aZ09._~-")}, ""},
		"the longest":     {`{"type":"verify","challenge":"` + strings.Repeat("x", 256) + `"}`, &HandshakeReply{Status: 200, ContentType: "text/plain; charset=utf-8", Body: []byte(strings.Repeat("x", 256))}, ""},
		"too long":        {`{"type":"verify","challenge":"` + strings.Repeat("x", 257) + `"}`, nil, ""},
		"a script":        {`{"type":"verify","challenge":"<script>"}`, nil, ""},
		"JSON":            {`{"type":"verify","challenge":"{}"}`, nil, ""},
		"a message":       {`{"type":"verify","challenge":"v0:1:x"}`, nil, ""},
		"not ASCII":       {`{"type":"verify","challenge":"é"}`, nil, ""},
		"a line":          {`{"type":"verify","challenge":"a\n"}`, nil, ""},
		"empty":           {`{"type":"verify","challenge":""}`, nil, ""},
		"absent":          {`{"type":"verify"}`, nil, ""},
		"without a text":  {`{"type":"ping"}`, &HandshakeReply{Status: 204}, ""},
		"something else":  {`{"type":"verified","challenge":"x"}`, nil, "hello"},
		"in another case": {`{"type":"Verify","challenge":"x"}`, nil, "hello"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := w.Read(received(tt.body, "X-Event", "hello"))
			if err != nil {
				t.Fatal(err)
			}
			reply, ok := r.Handshake(Check{}, Verdict{})
			if diff := cmp.Diff(tt.reply, reply, cmpopts.IgnoreFields(HandshakeReply{}, "Learn")); diff != "" || ok != (tt.reply != nil) {
				t.Errorf("reply %v (-want +got):\n%s", ok, diff)
			}
			n, err := r.Event()
			if n.Name != tt.event || errors.Is(err, ErrUnparsable) != (tt.event == "") {
				t.Errorf("got event %q, %v; want %q", n.Name, err, tt.event)
			}
		})
	}
	if r, err := w.Read(received(`{"type":"verify","challenge":"x"}`, "X-Event", "other")); err != nil {
		t.Fatal(err)
	} else if _, ok := r.Handshake(Check{}, Verdict{}); ok {
		t.Error("one of two conditions is enough for a handshake")
	}
}

func TestNewDeliveryID(t *testing.T) {
	const id = `n"1&`
	tests := map[string]struct{ sources, contentType, body, want string }{
		"in the JSON":         {"[json:/a/id]", jsonType, "{ \"x\": 1,\n\"a\": {\"id\" :  \"old\", \"y\":\"<\"}}\r\n", "{ \"x\": 1,\n\"a\": {\"id\" :  \"n\\\"1&\", \"y\":\"<\"}}\r\n"},
		"a number":            {"[json:/id]", jsonType, `{"id":17}`, `{"id":"n\"1&"}`},
		"the last of equals":  {"[json:/id]", jsonType, `{"id":1,"id":2}`, `{"id":1,"id":"n\"1&"}`},
		"the one that counts": {"[json:/none, json:/id, json:/other]", jsonType, `{"other":"o","id":"i"}`, `{"other":"o","id":"n\"1&"}`},
		"in a form":           {"[json:/id, form:id]", formType, "a=%20&id=old&id=x", "a=%20&id=n%221%26&id=x"},
		"in JSON in a form":   {"[json:/id]", formType, "payload=%7B%22id%22%3A1%7D&z=%31", "payload=%7B%22id%22%3A%22n%5C%221%26%22%7D&z=%31"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := demo(t, demoWith("delivery_id: "+tt.sources))
			d := received(tt.body, "Content-Type", tt.contentType, "X-Event", "e")
			before := d.Body
			if err := w.NewDeliveryID(d, id); err != nil {
				t.Fatal(err)
			}
			if string(d.Body) != tt.want || string(before) != tt.body {
				t.Errorf("body is\n%s\nwant\n%s", d.Body, tt.want)
			}
			r, err := w.Read(d)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := r.Event(); err != nil || n.ID != id {
				t.Errorf("the new id is read as %q, %v", n.ID, err)
			}
		})
	}
	for name, sources := range map[string]string{"absent": "[json:/id]", "a hash": "[json:/id, hash:body]", "nowhere": "[]"} {
		w := demo(t, demoWith("delivery_id: "+sources))
		if err := w.NewDeliveryID(received("{}", "X-Event", "e"), id); err == nil {
			t.Errorf("%s: a new id was set", name)
		}
	}
}

// TestEventFitsHeaders has everything as long as it may be, and in bytes that
// take three when they travel in a header.
func TestEventFitsHeaders(t *testing.T) {
	w := demo(t, demoWith(
		"delivery_id: [json:/id]", "event: [json:/type]", "subject: [json:/subject]", "account: [json:/id]", "order: [json:/id]",
		"keep_headers: [K1, K2, K3, K4, K5, K6, K7, K8]",
	))
	wide := func(n int) string { return strings.Repeat("\\u0000", n) }
	body := `{"type":"` + wide(4096) + `","id":"` + wide(256) + `","subject":"` + wide(512) + `"}`
	var headers []string
	for _, name := range w.KeepHeader {
		headers = append(headers, name, strings.Repeat("\"", 512))
	}
	n, err := eventOf(t, w, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Name) != 4096 || len(n.ID) != 256 || len(n.Subject) != 512 || len(n.Headers) != 8 {
		t.Errorf("not as long as it may be: %d, %d, %d, %d", len(n.Name), len(n.ID), len(n.Subject), len(n.Headers))
	}
	checkBounds(t, w, n)
}

// FuzzRead asserts what holds for every body: the errors that are allowed, the
// bounds of what is read, and that what is read fits on the bus.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"action":"opened","issue":{"number":1},"repository":{"full_name":"o/r","id":1}}`, `{"type":"url_verification","challenge":"abc"}`,
		`{"type":"event_callback","event":{"type":"message","channel":"C","ts":"1.2"},"event_id":"Ev","event_time":1700000000,"team_id":"T"}`,
		"payload=%7B%22type%22%3A%22block_actions%22%7D", "command=%2Fx&trigger_id=1.2&team_id=T", "a=b;c&&=&%zz=1", "", "{", "\x00",
	} {
		for _, contentType := range []string{jsonType, formType, "", "text/plain"} {
			f.Add(contentType, "issues", seed)
		}
	}
	packs := []*Webhooks{shipped(f, "github"), shipped(f, "slack")}
	f.Fuzz(func(t *testing.T, contentType, event, body string) {
		for _, w := range packs {
			d := received(body, "Content-Type", contentType, "X-GitHub-Event", event)
			r, err := w.Read(d)
			if err != nil {
				if !errors.Is(err, ErrContentType) && !errors.Is(err, ErrUnparsable) {
					t.Fatalf("Read: %v", err)
				}
				continue
			}
			if reply, ok := r.Handshake(Check{}, Verdict{}); ok && !isEchoable(string(reply.Body), "token") {
				t.Errorf("echoed %q", reply.Body)
			}
			n, err := r.Event()
			if err != nil {
				if !errors.Is(err, ErrUnparsable) {
					t.Fatalf("Event: %v", err)
				}
				continue
			}
			checkBounds(t, w, n)
			sameForm(t, r)
			newID(t, w, d)
		}
	})
}

func checkBounds(t *testing.T, w *Webhooks, n Normalized) {
	t.Helper()
	if n.ID == "" || len(n.ID) > 256 || n.Name == "" || len(n.Name) > 4096 || len(n.Subject) > 512 || len(n.Account) > 256 || len(n.PartitionKey) > 256 {
		t.Errorf("out of bounds: %+v", n)
	}
	if !n.Time.IsZero() && (n.Time.Year() < 2000 || n.Time.Year() > 2100) {
		t.Errorf("time is %s", n.Time)
	}
	e := events.Event{
		ID: n.ID, Source: "/plugfn", Type: n.Type, EventName: n.Name, Subject: n.Subject,
		Account: n.Account, PartitionKey: n.PartitionKey, Time: n.Time, Extensions: n.Headers,
	}
	size := 0
	for name, values := range e.Msg(events.EventSubject("u", w.pack.Name, n.Name)).Header {
		size += len(name) + len(values[0]) + 4
	}
	if size > 60<<10 {
		t.Errorf("headers take %d bytes", size)
	}
}

// sameForm holds the fields of a form against those that net/url finds.
func sameForm(t *testing.T, r *Reading) {
	t.Helper()
	if r.contentType != formType {
		return
	}
	want, err := url.ParseQuery(string(r.delivery.Body))
	if err != nil {
		return
	}
	for name := range want {
		got, ok := r.form.text(name, len(r.delivery.Body))
		if !ok || got != want.Get(name) {
			t.Errorf("field %q is %q, %v; net/url says %q", name, got, ok, want.Get(name))
		}
	}
}

func newID(t *testing.T, w *Webhooks, d *Delivery) {
	t.Helper()
	if w.NewDeliveryID(d, "new") != nil {
		return
	}
	r, err := w.Read(d)
	if err != nil {
		t.Fatalf("with a new id: %v", err)
	}
	if n, err := r.Event(); err != nil || n.ID != "new" {
		t.Errorf("with a new id: id is %q, %v", n.ID, err)
	}
}
