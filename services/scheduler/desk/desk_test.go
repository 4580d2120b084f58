package desk

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errNone = errors.New("there is no such thing")

func TestDesk(t *testing.T) {
	b := bustest.New(t)
	d, err := Open(Config{
		Conn: b.Conn(), Log: zerolog.Nop(), Name: "plugfn-things", Description: "things", Subject: "plugfn.svc.scheduler.things.",
		Verbs: []Verb{
			{Name: "list", Answer: func(_ context.Context, r Request) (any, error) {
				var q struct{ Limit int }
				return map[string]any{"user": r.User, "id": r.ID}, r.Read(&q)
			}},
			{Name: "get", Of: true, Answer: func(_ context.Context, r Request) (any, error) {
				if r.ID == "none" {
					return nil, errNone
				}
				return map[string]any{"user": r.User, "id": r.ID}, nil
			}},
		},
		Problem: func(err error) error {
			if errors.Is(err, errNone) {
				return api.New(http.StatusNotFound, "", err.Error())
			}
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("ü", 60)
	for _, row := range []struct{ tail, user, body, says string }{
		{"u1.list", "", "", `{"id":"","user":"u1"}`},
		{"u=201.get.a", "", "", `{"id":"a","user":"u 1"}`},
		{"u1.get.none", "", "", "no such thing"},
		{"u1.list", "", `{"limit":1}`, `"user":"u1"`},
		{"u1.list", "", `{"limits":1}`, "has no field"},
		{"u1.list", "", `{"limit":"1"}`, "must be a JSON int"},
		{"u1.list", "", `{`, "must be a JSON object"},
		{"u1.list", "", `{}{}`, "must be a JSON object"},
		{"u1.list", "", `{"limit":1` + strings.Repeat(" ", api.MaxBody) + "}", "is longer than"},
		{events.Token(long) + ".list", "", "", "Plugfn-User"},
		{events.Token(long) + ".list", strings.Repeat("%C3%BC", 60), "", `"user":"` + long},
		{"h-0011223344556677.list", strings.Repeat("%C3%BC", 60), "", "Plugfn-User"},
		{"_.list", "", "", "Plugfn-User"},
	} {
		msg := &nats.Msg{Subject: d.Subject + row.tail, Header: nats.Header{}, Data: []byte(row.body)}
		if row.user != "" {
			msg.Header.Set(events.HeaderUser, row.user)
		}
		answer, err := b.Conn().RequestMsg(msg, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(answer.Data) || !strings.Contains(string(answer.Data), row.says) {
			t.Errorf("%s %.40s: %s, want %s", row.tail, row.body, answer.Data, row.says)
		}
	}
	d.Close()
	if _, err := b.Conn().Request(d.Subject+"u1.list", nil, 10*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after its close: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{`{}`, `{"limit":1}`, `{"limit":`, `[]`, `null`, ` `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var into struct {
			Limit int `json:"limit"`
		}
		err := Request{Body: body}.Read(&into)
		var e *events.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no error for who asks", err)
		}
	})
}
