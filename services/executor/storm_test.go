package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/commit"
	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
)

// storm has executors execute requests while their work breaks off at every
// step, executors die, and the provider fails so that nobody can tell whether it
// carried out the request.
type storm struct {
	*story
	requests  int     // a third each of those that bear a key, can be found again, and neither
	doomed    int     // more of them, that the provider never lets through
	breakOff  float64 // how likely it is at each step
	deaths    int     // of whole executors, one after the other
	ambiguous float64 // how likely it is for each write
	forgetful bool    // the journal keeps nothing: the control
	grouped   bool    // what waits for the disk shares a write

	ids    []string
	log    transcript
	orders *orders
	mu     sync.Mutex
	luck   *rand.Rand
	broken map[string]int // :: request → how often its work broke off
	broke  map[point]int
	killed int // requests in hand of executors that died
}

// mostBreaks is how often the work on one request breaks off: it has ten
// attempts.
const mostBreaks = 2

// ambiguities look alike to a client, whether the provider carried out the
// request or not.
var ambiguities = []string{"lose", "drop", "hang", "hang made", "502", "502 made"}

func (s *storm) run(t *testing.T) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s.luck, s.broken, s.broke = rand.New(rand.NewPCG(seed, 1)), map[string]int{}, map[point]int{}
	s.orders = &orders{fault: s.fault}
	s.story = tellOrders(t, s.orders, func(c *Config) { c.Log = zerolog.New(&s.log).With().Timestamp().Logger() })
	stop := []func(){s.begin(), s.begin()}
	began := time.Now()
	s.ask()
	for i := range s.deaths {
		time.Sleep(time.Second) // there is something in hand again, and what was lost came again
		stop[i%2]()
		stop[i%2] = s.begin()
	}
	s.settled()
	for _, end := range stop {
		end()
	}
	t.Logf("%d requests, %d breaks %v, %d executors died with %d requests in hand, %d writes, %.1f s",
		s.requests+s.doomed, s.breaks(), s.broke, s.deaths, s.killed, s.orders.writes, time.Since(began).Seconds())
}

func (s *storm) breaks() int {
	sum := 0
	for _, n := range s.broke {
		sum += n
	}
	return sum
}

// chance is whether something of that likelihood happens.
func (s *storm) chance(likelihood float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.luck.Float64() < likelihood
}

func (s *storm) fault(title string, _ int) string {
	if strings.HasPrefix(title, "doomed") {
		return "429"
	}
	if !s.chance(s.ambiguous) {
		return "200"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return ambiguities[s.luck.IntN(len(ambiguities))]
}

var errBroke = errors.New("the work broke off")

// step has the work on a request break off now and then.
func (s *storm) step(p point, request string) error {
	likely := s.breakOff
	if p == pointBuried || p == pointLooked || p == pointWaiting || p == pointParked {
		likely *= 4 // few come by
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken[request] >= mostBreaks || s.luck.Float64() >= likely {
		return nil
	}
	s.broken[request]++
	s.broke[p]++
	return errBroke
}

// begin runs an executor of its own connection. What it returns ends it as the
// end of its process would: from one moment to the next it reaches neither the
// bus nor the provider.
func (s *storm) begin() (die func()) {
	s.Helper()
	conn, err := nats.Connect(s.bus.ClientURL(), nats.NoReconnect())
	if err != nil {
		s.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		s.Fatal(err)
	}
	cfg := s.cfg
	cfg.Conn, cfg.JetStream, cfg.Parking = conn, js, parking{s.bus, conn}
	if s.forgetful {
		cfg.JetStream = forgetful{js}
	}
	client := outbound.New(outbound.Config{Trusted: []string{s.provider.URL}})
	cfg.HTTP, cfg.DrainTimeout, cfg.MaxInFlight, cfg.GroupCommit = client, time.Millisecond, 64, s.grouped
	service, err := New(cfg)
	if err != nil {
		s.Fatal(err)
	}
	if s.forgetful {
		service.keeper = unkept{}
	}
	service.reached = s.step
	service.health.retries = 1e9 // a storm needs more than there are otherwise
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = service.Run(ctx) // it dies, one way or another
	}()
	var once sync.Once
	die = func() {
		once.Do(func() {
			pending := s.inHand()
			conn.Close()
			cancel()
			<-done
			client.CloseIdleConnections()
			s.killed += pending
		})
	}
	s.Cleanup(die)
	return die
}

// inHand is how many requests some executor has in hand.
func (s *storm) inHand() int {
	consumer, err := s.bus.JetStream().Consumer(context.Background(), events.StreamActions, "executor")
	if err != nil {
		return 0
	}
	return consumer.CachedInfo().NumAckPending
}

// parking is the bus's, as long as its executor lives.
type parking struct {
	Parking
	conn *nats.Conn
}

func (p parking) Park(ctx context.Context, later bus.Later) error {
	if p.conn.IsClosed() {
		return nats.ErrConnectionClosed
	}
	return p.Parking.Park(ctx, later)
}

// forgetful has a journal that keeps nothing.
type forgetful struct{ jetstream.JetStream }

func (f forgetful) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	kv, err := f.JetStream.KeyValue(ctx, bucket)
	if bucket == bus.BucketJournal {
		return blank{kv}, err
	}
	return kv, err
}

type blank struct{ jetstream.KeyValue }

func (blank) Get(context.Context, string) (jetstream.KeyValueEntry, error) {
	return nil, jetstream.ErrKeyNotFound
}

// unkept keeps nothing.
type unkept struct{}

func (unkept) Publish(context.Context, *nats.Msg) (commit.Ack, error) {
	return commit.Ack{Sequence: 1}, nil
}

func (unkept) Wait() {}

// ask publishes the requests.
func (s *storm) ask() {
	s.Helper()
	for i := range s.doomed { // the first, so that they are tried before their end
		s.publish("orders.none", fmt.Sprint("doomed-", i), time.Now().Add(2*time.Second))
	}
	kinds := []string{"orders.key", "orders.mark", "orders.none"}
	for i := range s.requests {
		action := kinds[i%len(kinds)]
		s.publish(action, fmt.Sprintf("%s-%d", strings.TrimPrefix(action, "orders."), i), time.Time{})
	}
}

func (s *storm) publish(action, id string, deadline time.Time) {
	s.Helper()
	s.ids = append(s.ids, id)
	s.request(events.ActionRequest{
		ID: id, Action: action, Params: json.RawMessage(`{"title":"` + id + `"}`),
		Timeout: 2 * time.Second, MaxAttempts: 10, Deadline: deadline,
	})
}

// settled waits until each request has a result, nothing waits and nothing is
// left to execute.
func (s *storm) settled() {
	s.Helper()
	ended := time.Now().Add(80 * time.Second)
	until := func(what string, ok func() bool) {
		s.Helper()
		for ; !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(ended) {
				s.waiting()
				s.Fatalf("waited in vain for %s", what)
			}
		}
	}
	js := s.bus.JetStream()
	stream := func(name string) jetstream.StreamState {
		st, err := js.Stream(s.Context(), name)
		if err != nil {
			s.Fatal(err)
		}
		return st.CachedInfo().State
	}
	until("results", func() bool { return int(stream(events.StreamResults).Msgs) >= s.requests+s.doomed })
	until("an end of what waits", func() bool { return stream(events.StreamLater).Msgs == 0 })
	until("an end of the work", func() bool {
		consumer, err := js.Consumer(s.Context(), events.StreamActions, "executor")
		return err == nil && consumer.CachedInfo().AckFloor.Stream >= stream(events.StreamActions).LastSeq
	})
}

// waiting logs what has no result, and why.
func (s *storm) waiting() {
	s.Helper()
	kv, err := s.bus.JetStream().KeyValue(s.Context(), bus.BucketJournal)
	if err != nil {
		s.Fatal(err)
	}
	done, shown := s.outcomes(), 0
	for _, id := range s.ids {
		if _, ok := done[id]; ok || shown == 5 {
			continue
		}
		shown++
		e, err := journal{kv: kv}.get(s.Context(), events.Key("u1", id))
		s.Logf("no result of %s: %+v, %v\n%s", id, e, err, s.log.about(id))
	}
	s.Logf("%d of %d results", len(done), len(s.ids))
}

// transcript is a log that is looked at only when something went wrong.
type transcript struct {
	mu    sync.Mutex
	lines []string
}

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *transcript) about(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var text strings.Builder
	for _, line := range l.lines {
		if strings.Contains(line, `"`+id+`"`) {
			text.WriteString(line)
		}
	}
	return text.String()
}

// outcomes is the one result of each request.
func (s *storm) outcomes() map[string]events.Outcome {
	s.Helper()
	stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamResults)
	if err != nil {
		s.Fatal(err)
	}
	info, err := stream.Info(s.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		s.Fatal(err)
	}
	all := map[string]events.Outcome{}
	for subject, n := range info.State.Subjects {
		tokens := strings.Split(subject, ".")
		id := tokens[len(tokens)-1]
		if _, twice := all[id]; twice || n != 1 {
			s.Errorf("request %s has several results", id)
		}
		all[id] = events.Outcome(tokens[len(tokens)-2])
	}
	return all
}

// tally is what became of the requests of one kind.
type tally struct {
	outcomes                           map[events.Outcome]int
	duplicates, missing, lies, results int
}

// tallies compares results with what the provider has made.
func (s *storm) tallies() map[string]*tally {
	s.Helper()
	made := map[string]int{}
	for _, title := range s.orders.made {
		id, _, _ := strings.Cut(title, " ") // the rest is a stamp
		made[id]++
	}
	all := map[string]*tally{}
	for id, outcome := range s.outcomes() {
		kind, _, _ := strings.Cut(id, "-")
		if all[kind] == nil {
			all[kind] = &tally{outcomes: map[events.Outcome]int{}}
		}
		a, n := all[kind], made[id]
		a.results++
		a.outcomes[outcome]++
		a.duplicates += max(0, n-1)
		if n == 0 {
			a.missing++
		}
		if outcome == events.Succeeded && n == 0 || outcome == events.Failed && n > 0 {
			a.lies++
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		a := all[kind]
		s.Logf("%-7s %d results %v, %d made twice, %d not made, %d untrue", kind, a.results, a.outcomes, a.duplicates, a.missing, a.lies)
	}
	return all
}

// holds checks what is promised.
func (s *storm) holds() {
	s.Helper()
	all := s.tallies()
	for _, kind := range []string{"key", "mark"} {
		if a := all[kind]; a.results != s.requests/3 || a.duplicates+a.missing+a.lies > 0 || a.outcomes[events.Succeeded] != a.results {
			s.Errorf("%s: %+v", kind, *a)
		}
	}
	if a := all["none"]; a.results != s.requests/3 || a.duplicates+a.lies > 0 || a.outcomes[events.Failed] > 0 {
		s.Errorf("none: %+v", *a)
	}
	// One whose work broke off while it was noted as sent may have been made.
	if a := all["doomed"]; a.results != s.doomed || a.missing != s.doomed || a.outcomes[events.Succeeded] > 0 {
		s.Errorf("doomed: %+v", *a)
	}
}

// A small one; the large one is an integration test.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := storm{requests: 150, doomed: 6, breakOff: 0.1, deaths: 1, ambiguous: 0.1, grouped: true}
	s.run(t)
	s.holds()
}

// What the storm would do without a journal shows that it is one.
func TestStormWithoutJournal(t *testing.T) {
	t.Parallel()
	s := storm{requests: 60, breakOff: 0.2, ambiguous: 0.1, forgetful: true}
	s.run(t)
	if all := s.tallies(); all["mark"].duplicates+all["none"].duplicates == 0 {
		t.Error("nothing was made twice although nothing was noted")
	}
}
