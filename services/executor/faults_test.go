package executor

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// secondaryPack knows refusals as GitHub's secondary limits are: a 403 with a
// message.
var secondaryPack = strings.Replace(limitedPack("  - {id: rest, key: [connection], pause: 60s}\n"), "  max_response: 2MiB\n", `  max_response: 2MiB
  errors:
    - when: status == 403 && (body?.message ?? "") contains "secondary rate limit"
      code: rate_limited
      retry_after: [header:Retry-After]
`, 1)

// Who is refused comes again not a moment too early, and others do not notice.
func TestSecondaryLimit(t *testing.T) {
	const each, rest = 10, time.Second
	var mu sync.Mutex
	var refused []time.Time // when
	var served []string     // who, in order
	s := tellPack(t, secondaryPack, func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Title string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		mu.Lock()
		defer mu.Unlock()
		if body.Title == "a" && !slices.Contains(served, "a") && (len(refused) == 0 || len(served) < each) {
			refused = append(refused, time.Now())
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"You have exceeded a secondary rate limit."}`)
			return
		}
		served = append(served, body.Title)
		_, _ = io.WriteString(w, `{}`)
	})
	s.start()
	ask := func(who string, n int) {
		r := write(fmt.Sprint(who, n), who)
		r.UserID, r.ConnectionID = who, "con_"+who
		s.request(r)
	}
	ask("a", 0)
	s.eventually("a refusal", func() bool { mu.Lock(); defer mu.Unlock(); return len(refused) > 0 })
	s.idle()
	for n := range each {
		ask("a", n+1)
		ask("b", n)
	}
	for _, r := range s.results(2*each + 1) {
		if r.Outcome != events.Succeeded {
			t.Errorf("%s: %s, %v", r.ID, r.Outcome, r.Error)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, at := range refused[1:] {
		if early := at.Sub(refused[i]); early < rest {
			t.Errorf("asked again after %s, it was told to wait %s", early, rest)
		}
	}
	if i := slices.Index(served, "a"); i < each {
		t.Errorf("only %d of the others came before the first that was refused: %v", i, served)
	}
}

// A provider that fails now and then is asked a tenth more than without.
func TestRetriesAreATenth(t *testing.T) {
	t.Parallel()
	const n = 300
	o := &orders{fault: func(title string, _ int) string {
		if len(title)%3 == 0 {
			return "500"
		}
		return "200"
	}}
	s := tellOrders(t, o)
	s.start()
	began := time.Now()
	for i := range n {
		title := strings.Repeat("x", i+1)
		s.request(events.ActionRequest{ID: fmt.Sprint("r", i), Action: "orders.key", Params: json.RawMessage(`{"title":"` + title + `"}`)})
	}
	w, err := s.service.worker(t.Context(), t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i < n; i += 3 { // those that fail each time
		s.eventually("a request that is put off", func() bool {
			e, err := w.journal.get(t.Context(), events.Key("u1", fmt.Sprint("r", i)))
			return err == nil && e != nil && (e.Deferrals > 0 || e.Attempts >= defaultAttempts)
		})
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	extra, allowed := o.writes-n, n*budgetShare+budgetMost/10+budgetSecond*time.Since(began).Seconds()
	if float64(extra) > allowed || extra == 0 {
		t.Errorf("%d repetitions of %d requests, allowed are %.0f", extra, n, allowed)
	}
}

// line is a provider on a bare connection: it has read the head of a request and
// may say what it likes.
func line(t *testing.T, speak func(conn *net.TCPConn)) (url string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					speak(conn.(*net.TCPConn))
				}
			})
		}
	})
	t.Cleanup(wait.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	return "http://" + listener.Addr().String()
}

// at has the executor of a story call the provider somewhere else.
func at(t *testing.T, pack, url string, client *http.Client) func(*Config) {
	t.Helper()
	p, err := providers.Load(fstest.MapFS{"fake/provider.yaml": {Data: []byte(pack)}}, "fake")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"fake": p}, map[string]providers.App{"fake": {BaseURL: url}})
	if err != nil {
		t.Fatal(err)
	}
	if client == nil {
		client = outbound.New(outbound.Config{Trusted: []string{url}})
	}
	t.Cleanup(client.CloseIdleConnections)
	return func(c *Config) { c.Providers, c.HTTP = registry, client }
}

// untilGone writes until the other side has had enough.
func untilGone(conn *net.TCPConn, text string) {
	for err := error(nil); err == nil; time.Sleep(2 * time.Millisecond) {
		_, err = io.WriteString(conn, text)
	}
}

// However a provider breaks off, a read is tried again and fails, and a write
// that cannot be tried again is made once and unknown.
func TestProviderBreaksOff(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	manners := map[string]func(*net.TCPConn){
		"silence":   func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) },
		"reset":     func(c *net.TCPConn) { _ = c.SetLinger(0) },
		"no HTTP":   func(c *net.TCPConn) { _, _ = c.Write([]byte{0, 0xff, 0x80, '\n', 7}) },
		"slow head": func(c *net.TCPConn) { _, _ = io.WriteString(c, head+"X-A: "); untilGone(c, "a") },
		"endless head": func(c *net.TCPConn) {
			_, _ = io.WriteString(c, head)
			untilGone(c, "X: "+strings.Repeat("a", 8<<10)+"\r\n")
		},
		"slow body":  func(c *net.TCPConn) { _, _ = io.WriteString(c, head+"Content-Length: 9999\r\n\r\n"); untilGone(c, " ") },
		"short body": func(c *net.TCPConn) { _, _ = io.WriteString(c, head+"Content-Length: 20\r\n\r\n{}") },
		"body of garbage": func(c *net.TCPConn) {
			_, _ = io.WriteString(c, head+"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nno gzip!!")
		},
	}
	for name, speak := range manners {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var heard atomic.Int64
			url := line(t, func(c *net.TCPConn) { heard.Add(1); speak(c) })
			s := tell(t, nil, at(t, fakePack, url, nil))
			s.start()
			s.request(events.ActionRequest{ID: "w", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`), Timeout: 300 * time.Millisecond})
			if r := s.results(1)[0]; r.Outcome != events.Unknown || r.Attempts != 1 || heard.Load() != 1 {
				t.Errorf("write: %s after %d attempts, %d heard: %v", r.Outcome, r.Attempts, heard.Load(), r.Error)
			}
			s.request(events.ActionRequest{ID: "r", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`), Timeout: 300 * time.Millisecond, MaxAttempts: 2})
			if r := s.results(2)[1]; r.Outcome != events.Failed || r.Attempts == 0 || r.Error.Code != events.CodeTimeout && r.Error.Code != events.CodeProviderUnavailable && r.Error.Code != events.CodeProviderRejected {
				t.Errorf("read: %s after %d attempts: %v", r.Outcome, r.Attempts, r.Error)
			}
		})
	}
}

// refuser is a server of HTTP/2 that refuses streams: it has done nothing for
// them. What it does not refuse it carries out.
type refuser struct {
	mu                     sync.Mutex
	refuse, refused, taken int
}

// Types of frames, RFC 9113 section 6.
const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	framePing     = 6
)

func (f *refuser) serve(_ *http.Server, conn net.Conn) {
	in := bufio.NewReader(conn)
	if _, err := in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	send := func(kind, flags byte, stream uint32, body []byte) {
		frame := binary.BigEndian.AppendUint32(nil, uint32(len(body))<<8|uint32(kind))
		frame = binary.BigEndian.AppendUint32(append(frame, flags), stream)
		_, _ = conn.Write(append(frame, body...))
	}
	send(frameSettings, 0, 0, nil)
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head)>>8)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		stream := binary.BigEndian.Uint32(head[5:])
		switch kind, flags := head[3], head[4]; {
		case kind == frameSettings && flags&1 == 0:
			send(frameSettings, 1, 0, nil)
		case kind == framePing && flags&1 == 0:
			send(framePing, 1, 0, body)
		case kind == frameHeaders && f.refuses():
			send(frameReset, 0, stream, []byte{0, 0, 0, 7})
		case kind == frameHeaders:
			send(frameHeaders, 4, stream, []byte{0x88}) // :status 200
			send(frameData, 1, stream, []byte(`{"ok":true}`))
		}
	}
}

func (f *refuser) refuses() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused < f.refuse {
		f.refused++
		return true
	}
	f.taken++
	return false
}

// A stream that the server refused was not looked at: the write is sent again,
// whatever its effect.
func TestRefusedStream(t *testing.T) {
	f := &refuser{refuse: 2}
	s := f.tell(t)
	s.request(write("r1", "a"))
	r := s.results(1)[0]
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Outcome != events.Succeeded || f.refused != 2 || f.taken != 1 {
		t.Errorf("%s, %v: %d refused, %d carried out", r.Outcome, r.Error, f.refused, f.taken)
	}
}

// One that is refused for ever has failed, however little time there is: nothing
// was done.
func TestRefusedStreamForEver(t *testing.T) {
	f := &refuser{refuse: 1 << 30}
	s := f.tell(t)
	for id, timeout := range map[string]time.Duration{"r1": 0, "r2": 500 * time.Millisecond} {
		r := write(id, "a")
		r.Timeout, r.MaxAttempts = timeout, 2
		s.request(r)
	}
	for _, r := range s.results(2) {
		if r.Outcome != events.Failed || r.Attempts != 0 || len(r.AttemptLog) != 2 {
			t.Errorf("%s: %s, %v after %+v", r.ID, r.Outcome, r.Error, r.AttemptLog)
		}
	}
}

// tell starts an executor for which f is the provider.
func (f *refuser) tell(t *testing.T) *story {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2 = true
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(s *http.Server, c *tls.Conn, _ http.Handler) { f.serve(s, c) },
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	client := outbound.New(outbound.Config{Trusted: []string{server.URL}, TLS: server.Client().Transport.(*http.Transport).TLSClientConfig})
	s := tell(t, nil, at(t, fakePack, server.URL, client))
	s.start()
	return s
}
