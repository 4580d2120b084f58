package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// program is the real program at work in a directory of its own.
type program struct {
	*exec.Cmd
	t      *testing.T
	stderr bytes.Buffer
}

// start runs the program with some more environment.
func start(t *testing.T, dir string, environ []string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command("plugfn", args...), t: t}
	p.Dir, p.Stderr = dir, &p.stderr
	p.Env = append(environ, "PATH="+os.Getenv("PATH"), "HOME="+dir, noRacePause, "PLUGFN_HTTP_ADDR=127.0.0.1:0", "PLUGFN_NATS_ADDR=127.0.0.1:0")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() }) // it has ended, unless the test failed
	return p
}

// interrupt is ^C. It returns the exit code.
func (p *program) interrupt() exitCode {
	p.t.Helper()
	if err := p.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *program) wait() exitCode {
	p.t.Helper()
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return exitCode(p.ProcessState.ExitCode())
}

// startDev runs plugfn dev until the test ends.
func startDev(t *testing.T, environ ...string) (p *program, c contextFile) {
	t.Helper()
	dir := t.TempDir()
	p = start(t, dir, environ, "dev")
	err := eventually("plugfn dev", func() bool {
		c, _ = readContext(filepath.Join(dir, ".plugfn", contextName))
		return c != contextFile{}
	})
	if err != nil {
		t.Fatalf("%v: %s", err, &p.stderr)
	}
	return p, c
}

// connect is any NATS client of an application.
func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func subscribe(t *testing.T, conn *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := conn.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func next(t *testing.T, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	msg, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatalf("waiting on %s: %v", sub.Subject, err)
	}
	return msg
}

func TestAStockNATSClientIsEnough(t *testing.T) {
	t.Parallel()
	dev, c := startDev(t)
	conn := connect(t, c.NATSURL)
	heard := subscribe(t, conn, "plugfn.event.>")
	acted := subscribe(t, conn, "plugfn.result.demo.slack.succeeded.>")

	if err := conn.Publish("plugfn.action.demo.slack.chat.postMessage", []byte(`{"channel":"#demo","text":"from any language"}`)); err != nil {
		t.Fatal(err)
	}
	result, err := events.ParseResult(next(t, acted).Data)
	if err != nil {
		t.Fatal(err)
	}
	var data struct{ Message struct{ Text string } }
	if err := json.Unmarshal(result.Data, &data); err != nil || data.Message.Text != "from any language" {
		t.Errorf("the result is %s (%v)", result.Data, err)
	}
	reply, err := conn.Request("plugfn.call.demo.slack.chat.postMessage", []byte(`{"channel":"#demo","text":"and back"}`), patience)
	if err != nil || !strings.Contains(string(reply.Data), `"outcome":"succeeded"`) {
		t.Errorf("the call was answered with %v, %v", reply, err)
	}

	if code := start(t, filepath.Dir(filepath.Dir(c.APIKeyFile)), nil, "trigger", "github", "push").wait(); code != exitOK {
		t.Fatalf("trigger exits with %d", code)
	}
	event := next(t, heard)
	if event.Subject != "plugfn.event.demo.github.push" || event.Header.Get("ce-type") != "com.github.push" {
		t.Errorf("heard %s with %v", event.Subject, event.Header)
	}
	if code := dev.interrupt(); code != exitOK {
		t.Errorf("dev exits with %d: %s", code, &dev.stderr)
	}
}

func TestRequestWaitsForItsTime(t *testing.T) {
	t.Parallel()
	_, c := startDev(t)
	conn := connect(t, c.NATSURL)
	acted := subscribe(t, conn, "plugfn.result.demo.>")

	notBefore := time.Now().Add(700 * time.Millisecond)
	msg := nats.NewMsg("plugfn.action.demo.slack.chat.postMessage")
	msg.Header.Set("Plugfn-Not-Before", notBefore.Format(time.RFC3339Nano))
	msg.Data = []byte(`{"channel":"#demo","text":"later"}`)
	if err := conn.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	result, err := events.ParseResult(next(t, acted).Data)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != events.Succeeded || result.StartedAt.Before(notBefore) {
		t.Errorf("%s at %s, not before %s", result.Outcome, result.StartedAt, notBefore)
	}
}

func TestInterruptedCommandExits130(t *testing.T) {
	t.Parallel()
	_, c := startDev(t)
	js, err := jetstream.New(connect(t, c.NATSURL))
	if err != nil {
		t.Fatal(err)
	}
	run := start(t, t.TempDir(), nil, "action", "run", "slack.chat.postMessage", "--nats-url", c.NATSURL,
		"--user", "demo", "--param", "channel=c", "--param", "text=t", "--not-before", "1h")
	err = eventually("the request is parked", func() bool {
		stream, err := js.Stream(t.Context(), events.StreamLater)
		if err != nil {
			return false
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(events.PrefixLater+"action.demo.*")) // the stream has schedules of PlugFn's own as well
		return err == nil && len(info.State.Subjects) > 0
	})
	if err != nil {
		t.Fatal(err)
	}
	if code := run.interrupt(); code != exitInterrupted || run.stderr.Len() > 0 {
		t.Errorf("exits with %d: %s", code, &run.stderr)
	}
}

// TestWorkInHandIsFinished stops the program while a provider is thinking.
func TestWorkInHandIsFinished(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		_, _ = io.WriteString(w, `{"ok":true,"ts":"1"}`)
	}))
	defer provider.Close()
	dev, c := startDev(t, "PLUGFN_SLACK_BASE_URL="+provider.URL, "PLUGFN_API_KEY=a-key-that-nobody-guesses")
	conn := connect(t, c.NATSURL)
	acted := subscribe(t, conn, "plugfn.result.u1.>")
	api := &apiClient{base: c.HTTPURL, key: providers.NewSecret([]byte("a-key-that-nobody-guesses")), http: &http.Client{}}
	if _, err := api.connect(context.Background(), newConnection{UserID: "u1", Provider: "slack", Token: "xoxb-1"}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Publish("plugfn.action.u1.slack.chat.postMessage", []byte(`{"channel":"c","text":"t"}`)); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := dev.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := eventually("HTTP is closed", func() bool {
		answer, err := http.Get(c.HTTPURL + "/livez")
		if err == nil {
			answer.Body.Close()
		}
		return err != nil
	})
	if err != nil {
		t.Fatal(err)
	}
	close(answer)
	result, err := events.ParseResult(next(t, acted).Data)
	if err != nil || result.Outcome != events.Succeeded {
		t.Errorf("the result is %+v, %v", result, err)
	}
	if code := dev.wait(); code != exitOK {
		t.Errorf("dev exits with %d: %s", code, &dev.stderr)
	}
}
