package events

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// viaWire encodes the headers as NATS sends them and reads them back.
func viaWire(t testing.TB, msg *nats.Msg) *nats.Msg {
	t.Helper()
	var b strings.Builder
	b.WriteString("NATS/1.0\r\n")
	for k, values := range msg.Header {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n") || strings.TrimSpace(v) != v {
				t.Fatalf("header %s: %q would be changed by NATS", k, v)
			}
			b.WriteString(k + ": " + v + "\r\n")
		}
	}
	b.WriteString("\r\n")
	h, err := nats.DecodeHeadersMsg([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Subject: msg.Subject, Header: h, Data: msg.Data}
}

func TestActionRequestRoundTrip(t *testing.T) {
	in := ActionRequest{
		ID: "req-1", UserID: strings.Repeat("u", 100), Provider: "github", Action: "issues.create",
		Params: json.RawMessage(`{"a":1}`), ConnectionID: "con_1", Timeout: 5 * time.Second,
		Deadline: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), NotBefore: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC),
		MaxAttempts: 3, Delivery: AtLeastOnce, Cache: time.Minute, MaxPages: 20, StreamPages: true, Reply: "_INBOX.abc", TraceParent: "00-ab-cd-01",
	}
	msg := viaWire(t, in.Msg(in.Subject()))
	out, err := ParseActionRequest(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
}

func TestNoCache(t *testing.T) {
	in := ActionRequest{UserID: "u1", Provider: "github", Action: "issues.get", Params: json.RawMessage(`{}`), Cache: NoCache}
	msg := viaWire(t, in.Msg(in.Subject()))
	if out, err := ParseActionRequest(msg.Subject, msg.Header, msg.Data); err != nil || out.Cache != NoCache || msg.Header.Get(HeaderCache) != "none" {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestParseActionRequestOfPlainClient(t *testing.T) {
	got, err := ParseActionRequest("plugfn.action.u1.github.issues.create", nil, []byte(" "))
	if err != nil {
		t.Fatal(err)
	}
	want := ActionRequest{UserID: "u1", Provider: "github", Action: "issues.create", Params: json.RawMessage("{}")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseActionRequestRefuses(t *testing.T) {
	const subject = "plugfn.action.u1.github.issues.create"
	long := ActionSubject(strings.Repeat("u", 100), "github", "x")
	tests := []struct {
		name, subject string
		header        nats.Header
		want          string
	}{
		{"other subject", "plugfn.event.u1.github.push", nil, "want plugfn.action.<user>.<provider>.<action>"},
		{"short subject", "plugfn.action.u1.github", nil, "want plugfn.action.<user>.<provider>.<action>"},
		{"shortened user without header", long, nil, "header Plugfn-User: needed"},
		{"user of someone else", subject, nats.Header{HeaderUser: {"u2"}}, "header Plugfn-User: does not match"},
		{"action of another", subject, nats.Header{HeaderAction: {"issues.list"}}, "header Plugfn-Action: does not match"},
		{"timeout", subject, nats.Header{HeaderTimeout: {"soon"}}, "header Plugfn-Timeout: \"soon\" is not a duration such as 30s"},
		{"negative timeout", subject, nats.Header{HeaderTimeout: {"-1s"}}, "not above zero"},
		{"deadline", subject, nats.Header{HeaderDeadline: {"tomorrow"}}, "header Plugfn-Deadline"},
		{"attempts", subject, nats.Header{HeaderMaxAttempts: {"0"}}, "from 1 to 100"},
		{"pages", subject, nats.Header{HeaderMaxPages: {"1001"}}, "from 1 to 1000"},
		{"stream", subject, nats.Header{HeaderStream: {"bytes"}, HeaderReply: {"_INBOX.a"}}, "is not pages"},
		{"stream to nobody", subject, nats.Header{HeaderStream: {"pages"}}, "needs Plugfn-Reply"},
		{"cache", subject, nats.Header{HeaderCache: {"no"}}, "not a duration"},
		{"delivery", subject, nats.Header{HeaderDelivery: {"exactly-once"}}, "header Plugfn-Delivery"},
		{"reply into another's subject", subject, nats.Header{HeaderReply: {"plugfn.action.u2.github.x"}}, "must be an inbox"},
		{"reply with wildcard", subject, nats.Header{HeaderReply: {"_INBOX.>"}}, "not a legal inbox"},
		{"long id", subject, nats.Header{HeaderID: {strings.Repeat("x", 257)}}, "longer than 256 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseActionRequest(tt.subject, tt.header, nil)
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeInvalidParams || !strings.Contains(e.Message, tt.want) {
				t.Fatalf("got %v, want invalid_params with %q", err, tt.want)
			}
		})
	}
}

// What is wrong with the subject must not cost the caller his answer.
func TestParseActionRequestKeepsIDAndReply(t *testing.T) {
	for _, subject := range []string{"plugfn.call.u1.fake", "plugfn.call.h-0011223344556677.fake.x", "plugfn.call.u1"} {
		r, err := ParseActionRequest(subject, nats.Header{"plugfn-id": {"r1"}, HeaderReply: {"_INBOX.a"}}, nil)
		if err == nil || r.ID != "r1" || r.Reply != "_INBOX.a" || r.UserID == "" {
			t.Errorf("%s: got %+v, %v", subject, r, err)
		}
	}
}

func TestSubjectTokens(t *testing.T) {
	tests := []struct{ subject, user, provider string }{
		{"plugfn.action.u1.github.issues.create", "u1", "github"},
		{"plugfn.call.h-00.github.x", "h-00", "github"},
		{"plugfn.call.u1", "u1", "_"},
		{"plugfn.event.u1.github.x", "_", "_"},
	}
	for _, tt := range tests {
		if user, provider := SubjectTokens(tt.subject); user != tt.user || provider != tt.provider {
			t.Errorf("%s: %s %s", tt.subject, user, provider)
		}
	}
}

func TestCarriedHeader(t *testing.T) {
	h := nats.Header{"Nats-Expected-Stream": {"X"}, "nats-msg-id": {"1"}, "Plugfn-Id": {"r1"}, "Nat": {"a"}}
	want := nats.Header{"Plugfn-Id": {"r1"}, "Nat": {"a"}}
	if diff := cmp.Diff(want, CarriedHeader(h)); diff != "" {
		t.Error(diff)
	}
}

func TestResultIsAsLongAsItsData(t *testing.T) {
	r := Result{ID: "1", Data: json.RawMessage(`"` + strings.Repeat("<", 1000) + `"`)}
	msg, err := r.Msg()
	if err != nil {
		t.Fatal(err)
	}
	if len(msg.Data) > 1500 {
		t.Errorf("%d bytes for 1000 of data", len(msg.Data))
	}
}

func TestResultMsgIsACloudEvent(t *testing.T) {
	r := Result{ID: "req 1", UserID: "u1", Provider: "slack", Action: "chat.postMessage", Outcome: Succeeded, Data: json.RawMessage(`{"ok":true}`), FinishedAt: time.Unix(1, 0).UTC()}
	msg, err := r.Msg()
	if err != nil {
		t.Fatal(err)
	}
	if want := "plugfn.result.u1.slack.succeeded.req=201"; msg.Subject != want {
		t.Errorf("subject %q, want %q", msg.Subject, want)
	}
	e, err := ParseEvent(viaWire(t, msg).Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "req 1" || e.Type != "dev.plugfn.action.succeeded" || e.Subject != "slack/chat.postMessage" {
		t.Errorf("got %+v", e)
	}
	back, err := ParseResult(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
}

func TestParseEventStructured(t *testing.T) {
	header := nats.Header{"content-type": {"application/cloudevents+json; charset=utf-8"}}
	tests := []struct{ name, body, data string }{
		{"json", `{"specversion":"1.0","id":"1","source":"/s","type":"t","userid":"u","seq":7,"data":{"a":1}}`, `{"a":1}`},
		{"base64", `{"specversion":"1.0","id":"1","source":"/s","type":"t","userid":"u","seq":7,"data_base64":"aGk="}`, `hi`},
		{"text", `{"specversion":"1.0","id":"1","source":"/s","type":"t","userid":"u","seq":7,"datacontenttype":"text/plain","data":"hi"}`, `hi`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := ParseEvent(header, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if e.ID != "1" || e.UserID != "u" || e.Extensions["seq"] != "7" || string(e.Data) != tt.data {
				t.Errorf("got %+v data %s", e, e.Data)
			}
		})
	}
}

func TestParseEventRefuses(t *testing.T) {
	structured := nats.Header{"Content-Type": {"application/cloudevents+json"}}
	tests := []struct {
		name   string
		header nats.Header
		body   string
	}{
		{"no attributes", nil, ""},
		{"other version", nats.Header{"ce-specversion": {"0.3"}, "ce-id": {"1"}, "ce-source": {"/"}, "ce-type": {"t"}}, ""},
		{"bad time", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/"}, "ce-type": {"t"}, "ce-time": {"now"}}, ""},
		{"bad escape", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"%zz"}, "ce-source": {"/"}, "ce-type": {"t"}}, ""},
		{"structured, not an object", structured, "[]"},
		{"structured, bad base64", structured, `{"id":"1","source":"/","type":"t","data_base64":"*"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if e, err := ParseEvent(tt.header, []byte(tt.body)); err == nil {
				t.Errorf("accepted as %+v", e)
			}
		})
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add("application/cloudevents+json", "1", []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":null}`))
	f.Add("application/json", "%C3%A9 \"%", []byte("{}"))
	f.Fuzz(func(t *testing.T, ct, id string, body []byte) {
		e, err := ParseEvent(nats.Header{"Content-Type": {ct}, "ce-id": {id}, "ce-source": {"/"}, "ce-type": {"t"}}, body)
		if err == nil && e.ID == "" {
			t.Fatal("an event without id")
		}
	})
}

func TestEveryCodeHasItsRow(t *testing.T) {
	seen := map[Code]bool{}
	for _, row := range Codes() {
		if seen[row.Code] || row.Status < 400 || row.Meaning == "" || row.Fix == "" {
			t.Errorf("row %+v is double or incomplete", row)
		}
		seen[row.Code] = true
		if got := row.Code.Meaning(); got != row {
			t.Errorf("Meaning of %s is %+v", row.Code, got)
		}
	}
	if got := Code("nonsense").Meaning().Code; got != CodeInternal {
		t.Errorf("unknown code means %s, want internal", got)
	}
}
