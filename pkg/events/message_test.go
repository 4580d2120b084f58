package events

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func TestCheckSubject(t *testing.T) {
	for _, c := range []struct {
		subject  string
		publish  string // part of the error; empty: legal
		wildcard string
	}{
		{"plugfn.event.u1.github.issues.opened", "", ""},
		{"a", "", ""},
		{strings.Repeat("a", 255), "", ""},
		{strings.Repeat("a", 256), "256 bytes", "256 bytes"},
		{"", "empty", "empty"},
		{"a..b", "token is empty", "token is empty"},
		{".a", "token is empty", "token is empty"},
		{"a.", "token is empty", "token is empty"},
		{"a.*.b", "wildcard", ""},
		{"a.>", "wildcard", ""},
		{">", "wildcard", ""},
		{"a.>.b", "wildcard", "wildcard"},
		{"a*.b", "wildcard", "wildcard"},
		{"a b", "space", "space"},
		{"a\r\nPUB b", "space", "space"},
		{"a\x00", "control", "control"},
		{"a\x7f", "control", "control"},
		{"$JS.API.STREAM.DELETE.PLUGFN_ACTIONS", "broker's own", "broker's own"},
	} {
		for wildcards, want := range map[bool]string{false: c.publish, true: c.wildcard} {
			err := checkSubject(c.subject, wildcards)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("checkSubject(%q, %v) = %v, want %q", c.subject, wildcards, err, want)
			}
		}
	}
}

func TestMessageID(t *testing.T) {
	for _, c := range []struct {
		name   string
		header nats.Header
		want   string
	}{
		{"ours first", nats.Header{HeaderMessageID: {"a"}, "ce-id": {"b"}, "Nats-Msg-Id": {"c"}}, "a"},
		{"then the event's", nats.Header{"ce-id": {"b%20b"}, "Nats-Msg-Id": {"c"}}, "b b"},
		{"in any case", nats.Header{"CE-Id": {"b"}}, "b"},
		{"not a broken one", nats.Header{"ce-id": {"%zz"}, "Nats-Msg-Id": {"c"}}, "c"},
		{"then the stream's", nats.Header{"Nats-Msg-Id": {"c"}}, "c"},
		{"none", nil, ""},
	} {
		if got := MessageOf(&nats.Msg{Header: c.header}).UUID; got != c.want {
			t.Errorf("%s: UUID %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMessageOfHeaderOf(t *testing.T) {
	header := nats.Header{"ce-id": {"1"}, "X": {"a", "b"}, "Empty": {""}, HeaderMessageID: {"id"}}
	m := MessageOf(&nats.Msg{Header: header, Data: []byte("body")})
	if diff := cmp.Diff(message.Metadata{"ce-id": "1", "X": "a", "Empty": ""}, m.Metadata); diff != "" {
		t.Error(diff)
	}
	r := Received{"a.b", "S", 1, 2, time.Unix(0, 3).UTC()}
	r.note(m.Metadata)
	got, err := ReceivedOf(m)
	if err != nil || got != r {
		t.Errorf("ReceivedOf = %v, %v; want %v", got, err, r)
	}
	if diff := cmp.Diff(nats.Header{"ce-id": {"1"}, "X": {"a"}, "Empty": {""}, HeaderMessageID: {"id"}}, HeaderOf(m)); diff != "" {
		t.Error(diff)
	}
}

func TestReceivedOfRefuses(t *testing.T) {
	if r, err := ReceivedOf(message.NewMessage("id", nil)); err == nil {
		t.Errorf("a message from nowhere: %v", r)
	}
}

func TestCheckHeaderRefuses(t *testing.T) {
	for _, h := range []nats.Header{
		{"": {"v"}},
		{"a b": {"v"}},
		{"a:b": {"v"}},
		{"ä": {"v"}},
		{"a\n": {"v"}},
		{"a": {"x\ny"}},
		{"a": {"x\r"}},
		{"a": {" x"}},
		{"a": {"x\t"}},
	} {
		if err := checkHeader(h); err == nil {
			t.Errorf("header %q is not refused", h)
		}
	}
}

// FuzzMessageOf reads header blocks as they come from the wire: what the bus
// notes is not among them, and sending them on loses nothing.
func FuzzMessageOf(f *testing.F) {
	f.Add("ce-id: a%20b\r\nX: 1\r\nX: 2\r\n")
	f.Add("nats:subject: forged\r\nnats: x\r\n:nats:stream: y\r\n")
	f.Add("Plugfn-Message-Id: \r\nCE-ID: %zz\r\nNats-Msg-Id: c\r\n")
	f.Add("Status: 409\r\nDescription: Consumer Deleted\r\n")
	f.Fuzz(func(t *testing.T, block string) {
		header, err := nats.DecodeHeadersMsg([]byte("NATS/1.0\r\n" + block + "\r\n"))
		if err != nil {
			return
		}
		m := MessageOf(&nats.Msg{Header: header})
		for name := range m.Metadata {
			if strings.HasPrefix(name, metaPrefix) {
				t.Errorf("a sender sets %q", name)
			}
		}
		if again := MessageOf(&nats.Msg{Header: HeaderOf(m)}); !again.Equals(m) {
			t.Errorf("sent on: %q %v, want %q %v", again.UUID, again.Metadata, m.UUID, m.Metadata)
		}
	})
}

func FuzzCheckSubject(f *testing.F) {
	for _, s := range []string{"a.b", "a..b", "a b", "*.>", "$SYS.a", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if checkSubject(subject, false) != nil {
			return
		}
		if checkSubject(subject, true) != nil {
			t.Error("legal only without wildcards")
		}
		if len(subject) > 255 || strings.ContainsAny(subject, " \t\r\n\x00*>") || strings.Contains("."+subject+".", "..") {
			t.Errorf("%q passes", subject)
		}
	})
}
