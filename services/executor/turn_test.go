package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const orderedPack = fakePack + `
  things.say:
    summary: Says something in a room
    effect: idempotent
    order_by: [connection, params.room]
    retry: {attempts: 5, base: 200ms}
    request: {method: POST, path: /say, body: {encoding: json}}
    params: {type: object, required: [room, text], additionalProperties: false, properties: {room: {type: string}, text: {type: integer}}}
`

// rooms is a provider that notes what was said in each room, and whether two
// spoke at once. What it is told to refuse it refuses once.
type rooms struct {
	mu       sync.Mutex
	said     map[string][]int
	speaking map[string]int
	refuse   func(room string, text int) bool
	refused  map[string]bool
	together bool
}

func (r *rooms) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var body struct {
		Room string
		Text int
	}
	_ = json.NewDecoder(q.Body).Decode(&body)
	r.mu.Lock()
	r.speaking[body.Room]++
	r.together = r.together || r.speaking[body.Room] > 1
	key := fmt.Sprint(body)
	refuse := r.refuse != nil && r.refuse(body.Room, body.Text) && !r.refused[key]
	r.refused[key] = true
	r.mu.Unlock()
	time.Sleep(time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.speaking[body.Room]--
	if refuse {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.said[body.Room] = append(r.said[body.Room], body.Text)
	_, _ = io.WriteString(w, `{}`)
}

func newRooms() *rooms {
	return &rooms{said: map[string][]int{}, speaking: map[string]int{}, refused: map[string]bool{}}
}

func (s *story) say(room string, text int, change ...func(*events.ActionRequest)) {
	s.Helper()
	r := events.ActionRequest{Action: "things.say", Params: json.RawMessage(fmt.Sprintf(`{"room":%q,"text":%d}`, room, text))}
	for _, c := range change {
		c(&r)
	}
	s.request(r)
}

// Requests with the same key are carried out one after another, in their order,
// whichever executor has them, and also where some of them come again later.
func TestOrder(t *testing.T) {
	tests := []struct {
		name   string
		refuse func(string, int) bool
		small  bool
	}{
		{"all go well", nil, false},
		{"some are tried again", func(room string, text int) bool { return room == "a" && text%10 == 3 }, false},
		{"with a lane", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRooms()
			r.refuse = tt.refuse
			s := tellPack(t, orderedPack, r.ServeHTTP, func(cfg *Config) {
				if tt.small {
					small(cfg)
				}
			})
			s.start()
			s.start()
			const n = 20
			for i := range n {
				s.say("a", i)
				s.say("b", i)
				s.say(fmt.Sprintf("other%d", i), i)
			}
			for _, result := range s.results(3 * n) {
				if result.Outcome != events.Succeeded {
					t.Errorf("%s: %s, %v", result.ID, result.Outcome, result.Error)
				}
			}
			for _, room := range []string{"a", "b"} {
				if !slices.IsSorted(r.said[room]) || len(r.said[room]) != n {
					t.Errorf("in %s was said %v", room, r.said[room])
				}
			}
			if r.together {
				t.Error("two spoke at once in one room")
			}
		})
	}
}

// Who fails, is canceled or asks for nonsense hands the turn on.
func TestOrderGoesOn(t *testing.T) {
	r := newRooms()
	r.refuse = func(_ string, text int) bool { return text == 0 }
	s := tellPack(t, orderedPack, r.ServeHTTP)
	s.start()
	s.say("a", 0) // tried again after a while
	s.eventually("the first call", func() bool { return s.provider.count() > 0 })
	s.say("a", 1, func(r *events.ActionRequest) { r.ID = "canceled" })
	s.say("a", 2, func(r *events.ActionRequest) { r.Params = json.RawMessage(`{"room":"a"}`) })
	s.say("a", 3, func(r *events.ActionRequest) { r.Deadline = time.Now().Add(-time.Minute) })
	s.say("a", 4)
	s.say("a", 5, func(r *events.ActionRequest) { r.ConnectionID = "con_other" }) // has an order of its own
	if _, err := s.app.Request(events.PrefixService+"executor.cancel."+events.Token("u1")+"."+events.Token("canceled"), nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	outcomes := map[events.Outcome]int{}
	for _, result := range s.results(6) {
		outcomes[result.Outcome]++
	}
	if outcomes[events.Succeeded] != 3 || outcomes[events.Failed] != 3 {
		t.Errorf("got %v", outcomes)
	}
	if said := slices.DeleteFunc(r.said["a"], func(text int) bool { return text == 5 }); !slices.Equal(said, []int{0, 4}) {
		t.Errorf("was said %v", said)
	}
}

// The turn of a request is handed on by whoever comes after an executor that
// went away in between.
func TestOrderSurvivesAnExecutor(t *testing.T) {
	r := newRooms()
	s := tellPack(t, orderedPack, r.ServeHTTP)
	crashed := false
	var mu sync.Mutex
	s.reached = func(p point, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if p == pointConcluded && !crashed {
			crashed = true
			return fmt.Errorf("crash") // the result is there, the turn not handed on
		}
		return nil
	}
	s.start()
	for i := range 5 {
		s.say("a", i)
	}
	s.results(5)
	if !slices.Equal(r.said["a"], []int{0, 1, 2, 3, 4}) {
		t.Errorf("was said %v", r.said["a"])
	}
}

// The turn of an executor that was killed goes on with another one, in the order
// of before: it is the request's.
func TestOrderSurvivesAKilledExecutor(t *testing.T) {
	hung, lifted := make(chan struct{}, 1), make(chan struct{})
	var mu sync.Mutex
	var said []int
	s := tellPack(t, orderedPack, func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Text int }
		_ = json.NewDecoder(r.Body).Decode(&body)
		select {
		case hung <- struct{}{}: // the first call
			<-lifted
			return
		default:
		}
		mu.Lock()
		said = append(said, body.Text)
		mu.Unlock()
		_, _ = io.WriteString(w, `{}`)
	})
	killed, err := nats.Connect(s.bus.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer killed.Close()
	cfg := s.cfg
	cfg.Conn = killed
	if cfg.JetStream, err = jetstream.New(killed); err != nil {
		t.Fatal(err)
	}
	service, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	defer func() {
		close(lifted)
		cancel()
		if err := <-done; err != nil {
			t.Logf("the killed one: %v", err)
		}
	}()
	const n = 5
	for i := range n {
		s.say("a", i)
	}
	s.eventually("the first call", func() bool { return len(hung) > 0 })
	s.start()
	killed.Close() // all that others see of a killed process
	for _, result := range s.results(n) {
		if result.Outcome != events.Succeeded {
			t.Errorf("%s: %s, %v", result.ID, result.Outcome, result.Error)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(said, []int{0, 1, 2, 3, 4}) {
		t.Errorf("was said %v", said)
	}
}
