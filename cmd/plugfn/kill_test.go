package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// ledger is a fake Slack that counts how often it was asked to post each text.
type ledger struct {
	*httptest.Server
	mu    sync.Mutex
	posts map[string]int
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{posts: map[string]int{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var post struct{ Text string }
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &post)
		l.mu.Lock()
		l.posts[post.Text]++
		l.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(l.Close)
	return l
}

// victim is a real `plugfn serve` process that is killed and started again.
type victim struct {
	*testing.T
	program, dir, http, nats, slack string
	env                             []string // beside what each has
	args                            []string // nil: serve
	log                             bytes.Buffer
	cmd                             *exec.Cmd
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (v *victim) start() {
	v.Helper()
	if v.args == nil {
		v.args = []string{"serve"}
	}
	v.cmd = exec.Command(v.program, v.args...)
	v.cmd.Dir = v.dir
	v.cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + v.dir, "PLUGFN_DATA_DIR=" + filepath.Join(v.dir, "data"), "PLUGFN_API_KEY=test-key-of-some-length",
		"PLUGFN_HTTP_ADDR=" + v.http, "PLUGFN_NATS_ADDR=" + v.nats, "PLUGFN_SLACK_BASE_URL=" + v.slack,
	}
	v.cmd.Env = append(v.cmd.Env, v.env...)
	v.cmd.Stderr = &v.log
	if err := v.cmd.Start(); err != nil {
		v.Fatal(err)
	}
	v.Cleanup(v.kill)
	v.eventually("a ready server", func() bool {
		w, err := http.Get("http://" + v.http + "/readyz")
		if err != nil {
			return false
		}
		w.Body.Close()
		return w.StatusCode == http.StatusOK
	})
}

// kill ends the process as a power cut would, without a word.
func (v *victim) kill() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

func (v *victim) eventually(what string, ok func() bool) {
	v.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			v.kill() // the log is complete, and nobody else's, once the process has ended
			v.Fatalf("waited in vain for %s\n%s", what, v.log.String())
		}
	}
}

// unlimit lifts limits that Slack has and the ledger has not.
func (v *victim) unlimit(limits ...string) {
	v.Helper()
	for _, limit := range limits {
		set := exec.Command(v.program, "limit", "set", "slack", limit, "100000/1s", "--burst", "100000", "--nats-url", "nats://"+v.nats)
		set.Dir = v.dir
		if out, err := set.CombinedOutput(); err != nil {
			v.Fatalf("lifting limit %s: %v\n%s", limit, err, out)
		}
	}
}

func (v *victim) connectSlack() {
	v.Helper()
	body := `{"user_id":"u1","provider":"slack","token":"xoxb-test"}`
	r, err := http.NewRequestWithContext(v.Context(), http.MethodPost, "http://"+v.http+"/v1/connections", strings.NewReader(body))
	if err != nil {
		v.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer test-key-of-some-length")
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(w.Body)
		v.Fatalf("creating a connection: %d %s", w.StatusCode, text)
	}
}

// bus connects as an application does.
func (v *victim) bus() (jetstream.JetStream, func()) {
	v.Helper()
	conn, err := nats.Connect("nats://" + v.nats)
	if err != nil {
		v.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		v.Fatal(err)
	}
	return js, conn.Close
}

// results counts the results by request id.
func results(ctx context.Context, js jetstream.JetStream) (map[string]int, map[events.Outcome]int, error) {
	stream, err := js.Stream(ctx, events.StreamResults)
	if err != nil {
		return nil, nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(events.PrefixResult+">"))
	if err != nil {
		return nil, nil, err
	}
	byID, byOutcome := map[string]int{}, map[events.Outcome]int{}
	for subject, n := range info.State.Subjects {
		tokens := strings.Split(subject, ".")
		byID[tokens[len(tokens)-1]] += int(n)
		byOutcome[events.Outcome(tokens[len(tokens)-2])] += int(n)
	}
	return byID, byOutcome, nil
}

// A server that is killed while requests are queued and in flight gives each of
// them exactly one result after its restart, and sends none of them twice.
func TestKilledServerGivesEachRequestOneResult(t *testing.T) {
	t.Parallel()
	const requests, kills = 1000, 2
	dir := t.TempDir()
	program := filepath.Join(dir, "plugfn")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building plugfn: %v\n%s", err, out)
	}
	slack := newLedger(t)
	v := &victim{T: t, program: program, dir: dir, http: freeAddr(t), nats: freeAddr(t), slack: slack.URL}
	v.start()
	v.connectSlack()
	v.unlimit("post", "posts")

	js, hangUp := v.bus()
	for i := range requests {
		r := events.ActionRequest{
			ID: fmt.Sprint("r", i), UserID: "u1", Provider: "slack", Action: "chat.postMessage",
			// To a person: such a message cannot be found again, so its outcome stays unknown.
			Params: fmt.Appendf(nil, `{"channel":"U0DEMO0001","text":"t%d"}`, i),
		}
		if _, err := js.PublishMsg(t.Context(), r.Msg(r.Subject())); err != nil {
			t.Fatal(err)
		}
		if i == requests*9/10 {
			v.kill() // while the first ones are being executed
			hangUp()
			v.start()
			js, hangUp = v.bus()
		}
	}
	for range kills - 1 {
		v.kill()
		hangUp()
		v.start()
		js, hangUp = v.bus()
	}
	defer hangUp()

	var outcomes map[events.Outcome]int
	v.eventually("all results", func() bool {
		byID, byOutcome, err := results(t.Context(), js)
		outcomes = byOutcome
		return err == nil && len(byID) >= requests
	})
	byID, _, err := results(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	for i := range requests {
		if n := byID[fmt.Sprint("r", i)]; n != 1 {
			t.Errorf("request r%d has %d results", i, n)
		}
	}
	slack.mu.Lock()
	defer slack.mu.Unlock()
	for text, n := range slack.posts {
		if n != 1 {
			t.Errorf("%s was posted %d times", text, n)
		}
	}
	if missing := requests - len(slack.posts); missing > outcomes[events.Unknown] {
		t.Errorf("%d requests never reached the provider, but only %d are unknown: %v", missing, outcomes[events.Unknown], outcomes)
	}
	t.Logf("outcomes %v, %d posts", outcomes, len(slack.posts))
}
