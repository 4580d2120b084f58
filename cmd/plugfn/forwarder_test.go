package main

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const pushSubject = "plugfn.event._.github.push"

func pushEvent() *events.Event {
	return &events.Event{
		ID: "d é", Source: "/plugfn/github/app/_", Type: "com.github.push", Provider: "github", EventName: "push",
		DataContentType: "application/json", Data: []byte(`{"a":1}`),
	}
}

// TestSignByTheBook checks the example of the Standard Webhooks specification
// and its libraries.
func TestSignByTheBook(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	sign(h, key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got := h.Get("webhook-signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" || h.Get("webhook-timestamp") != "1614265330" {
		t.Errorf("got %v", h)
	}
}

func TestForward(t *testing.T) {
	var got *http.Request
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer srv.Close()
	f := &forwarder{to: srv.URL + "/hook?a=b", key: []byte("key"), http: newForwardClient(), wait: func(string) {}}
	defer f.http.CloseIdleConnections()
	sent, err := f.send(t.Context(), pushSubject, pushEvent())
	if err != nil || sent.Status != http.StatusFound || sent.Attempts != 1 || sent.ID != "d é" || sent.Event != "github.push" {
		t.Fatalf("got %+v, %v", sent, err)
	}
	if string(body) != `{"a":1}` || got.URL.String() != "/hook?a=b" || got.Header.Get("Content-Type") != "application/json" ||
		got.Header.Get("Ce-Id") != "d%20%C3%A9" || got.Header.Get("Ce-Type") != "com.github.push" || got.Header.Get("Ce-Datacontenttype") != "" {
		t.Errorf("got %s %v %s", got.URL, got.Header, body)
	}
	want := http.Header{}
	sign(want, []byte("key"), messageID(pushEvent()), sent.At, body)
	if id := want.Get("webhook-id"); id != "msg_d9ec4281cadb2e6fb7ec6635bec26434" {
		t.Errorf("webhook-id %s: it must stay what it was", id)
	}
	for name := range want {
		if got.Header.Get(name) != want.Get(name) {
			t.Errorf("%s: %q", name, got.Header.Get(name))
		}
	}
}

// TestForwardTellsEventsApart: the events of one delivery have its id, one for
// each connection. A receiver that drops what it has seen drops none of them.
func TestForwardTellsEventsApart(t *testing.T) {
	a, b, c := pushEvent(), pushEvent(), pushEvent()
	b.Source, c.ID = "/plugfn/github/app/con_2", "d.1.2"
	if messageID(a) == messageID(b) || messageID(a) == messageID(c) || messageID(a) != messageID(pushEvent()) {
		t.Errorf("%s, %s, %s", messageID(a), messageID(b), messageID(c))
	}
	if strings.ContainsRune(messageID(c), '.') {
		t.Errorf("%s: a dot ends the id in what is signed", messageID(c))
	}
}

// TestForwardWaits: while nobody listens, the event stays.
func TestForwardWaits(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan string, 1)
	f := &forwarder{to: "http://" + addr, key: []byte("key"), http: newForwardClient(), wait: func(text string) { waited <- text }}
	defer f.http.CloseIdleConnections()
	ended := make(chan forwarded, 1)
	go func() {
		sent, _ := f.send(t.Context(), pushSubject, pushEvent())
		ended <- sent
	}()
	if text := <-waited; !strings.Contains(text, "refused") {
		t.Errorf("told %q", text)
	}
	l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Skip("somebody else took the port: " + err.Error())
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Second}
	defer srv.Close()
	go func() { _ = srv.Serve(l) }()
	if sent := <-ended; sent.Status != http.StatusOK || sent.Attempts < 2 {
		t.Errorf("got %+v", sent)
	}
}

// TestForwardGivesUp: what a server breaks off is not sent for ever.
func TestForwardGivesUp(t *testing.T) {
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	f := &forwarder{to: srv.URL, key: []byte("key"), http: newForwardClient(), wait: func(string) {}}
	sent, err := f.send(t.Context(), pushSubject, pushEvent())
	if err != nil || sent.Error == "" || n.Load() < forwardTries {
		t.Errorf("got %+v after %d, %v", sent, n.Load(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.send(ctx, pushSubject, pushEvent()); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
