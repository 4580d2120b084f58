package plugfn_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

type lamp struct {
	Lamp int
}

// TestEach asks a provider that has three pages of two lamps, of which the last
// has one.
func TestEach(t *testing.T) {
	conn := bustest.New(t).Conn()
	var asked []string
	sub, err := conn.Subscribe("plugfn.call.>", func(msg *nats.Msg) {
		id := msg.Header.Get(events.HeaderID)
		var params struct {
			Room string
			Page int
		}
		if err := json.Unmarshal(msg.Data, &params); err != nil || params.Room != "hall" {
			t.Errorf("params %s: %v", msg.Data, err)
		}
		asked = append(asked, id)
		r := events.Result{ID: id, UserID: "u1", Outcome: events.Succeeded, Data: json.RawMessage(`{"found":{"a/b":[{"lamp":1},{"lamp":2}]}}`)}
		switch params.Page {
		case 0, 2:
			r.More, r.Next = true, json.RawMessage(`{"page":`+strconv.Itoa(max(2, params.Page+1))+`}`)
		case 3:
			r.Data = json.RawMessage(`{"found":{"a/b":[{"lamp":3}]}}`)
		}
		text, _ := json.Marshal(&r) // it was made here
		_ = msg.Respond(text)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	client, err := plugfn.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	request := plugfn.Request{User: "u1", Action: "lamps.list", Params: map[string]any{"room": "hall"}}
	named := func(r *plugfn.Request) { r.ID = "count" }
	each := func(stopAt int) (sum, n int) {
		for l, err := range plugfn.Each[lamp](t.Context(), client, request, "/found/a~1b", named) {
			if err != nil {
				t.Fatal(err)
			}
			sum, n = sum+l.Lamp, n+1
			if n == stopAt {
				break
			}
		}
		return sum, n
	}
	if sum, n := each(0); sum != 9 || n != 5 {
		t.Errorf("%d lamps with the sum %d", n, sum)
	}
	if len(asked) != 3 || asked[0] != "count" || asked[2] != "count.3" {
		t.Errorf("asked for %v", asked)
	}
	asked = nil
	if each(2); len(asked) != 1 {
		t.Errorf("who needs two asked for %v", asked)
	}

	// What is no list is an error, and the last thing.
	n := 0
	for _, err := range plugfn.Each[lamp](t.Context(), client, request, "/found") {
		if n++; err == nil {
			t.Error("an object was taken for a list")
		}
	}
	if n != 1 {
		t.Errorf("%d things came", n)
	}
	if _, err := plugfn.Call[[]lamp](context.WithoutCancel(t.Context()), client, request); err == nil {
		t.Error("an object was taken for a list")
	}

	// The items of several pages come as a list, which is no page.
	asked = nil
	several := func(r *plugfn.Request) { r.MaxPages = 3 }
	if _, err := plugfn.Call[struct{ Found any }](t.Context(), client, request, several); !errors.Is(err, plugfn.ErrInvalidParams) || len(asked) != 0 {
		t.Errorf("several pages as one: %v, asked for %v", err, asked)
	}
}

func TestNullable(t *testing.T) {
	type params struct {
		A plugfn.Nullable[string] `json:"a,omitzero"`
		B plugfn.Nullable[string] `json:"b,omitzero"`
		C plugfn.Nullable[int]    `json:"c,omitzero"`
	}
	text, err := json.Marshal(params{B: plugfn.Null[string](), C: plugfn.Value(0)})
	if want := `{"b":null,"c":0}`; err != nil || string(text) != want {
		t.Fatalf("%s, %v, want %s", text, err, want)
	}
	var back params
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	_, b := back.B.Get()
	c, is := back.C.Get()
	if !back.A.IsZero() || back.B.IsZero() || b || !is || c != 0 {
		t.Errorf("%+v", back)
	}
	if json.Unmarshal([]byte(`{"c":"x"}`), &back) == nil {
		t.Error("a text was taken for a number")
	}
}

func TestWithExtra(t *testing.T) {
	fields := struct {
		Kind string `json:"kind"`
	}{"lamp"}
	text, err := plugfn.WithExtra(fields, map[string]any{"kind": "door", "room": "hall"})
	if want := `{"kind":"lamp","room":"hall"}`; err != nil || string(text) != want {
		t.Errorf("%s, %v, want %s", text, err, want)
	}
	if _, err := plugfn.WithExtra(fields, map[string]any{"f": func() {}}); err == nil {
		t.Error("a function became JSON")
	}
}
