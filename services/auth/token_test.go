package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestEachReplyIsSealedAnew(t *testing.T) {
	r := newRig(t)
	r.connect(t, "u1", "github", "ghp_1")
	request := encode(t, newClient(t, r).request("u1", "github", ""))
	a, err := r.grantToken(t.Context(), request, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.grantToken(t.Context(), request, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Sender == b.Sender || string(a.Sealed) == string(b.Sealed) {
		t.Error("the same request got the same reply")
	}
}

func TestTokenRequestsRefused(t *testing.T) {
	r := newRig(t)
	r.serve(t)
	r.connect(t, "u1", "github", "ghp_1")
	good := newClient(t, r).request("u1", "github", "")
	edited := func(edit func(*tokenRequest)) string {
		request := good
		edit(&request)
		return string(encode(t, request))
	}
	seed, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	user, err := seed.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	// nkeys takes these two for public curve keys.
	long, err := nkeys.Encode(nkeys.PrefixByteCurve, make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	short, err := nkeys.Encode(nkeys.PrefixByteCurve, make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, body, want string }{
		{"empty", "", "JSON object"},
		{"not JSON", "}", "JSON object"},
		{"of another form", `{"user_id":7}`, "JSON object"},
		{"too long", `{"user_id":"` + strings.Repeat(" ", maxRequest) + `"}`, "JSON object"},
		{"long user", edited(func(r *tokenRequest) { r.UserID = strings.Repeat("u", 257) }), "user_id: longer than 256"},
		{"long provider", edited(func(r *tokenRequest) { r.Provider = strings.Repeat("p", 65) }), "provider: longer than 64"},
		{"long id", edited(func(r *tokenRequest) { r.ConnectionID = strings.Repeat("c", 257) }), "connection_id: longer than 256"},
		{"long nonce", edited(func(r *tokenRequest) { r.Nonce = strings.Repeat("n", 65) }), "nonce: longer than 64"},
		{"no nonce", edited(func(r *tokenRequest) { r.Nonce = "" }), "nonce: must not be empty"},
		{"no recipient", edited(func(r *tokenRequest) { r.Recipient = "" }), "recipient: "},
		{"short recipient", edited(func(r *tokenRequest) { r.Recipient = "X" }), "recipient: "},
		{"long recipient", edited(func(r *tokenRequest) { r.Recipient = strings.Repeat("A", 4000) }), "recipient: "},
		{"long recipient with a checksum", edited(func(r *tokenRequest) { r.Recipient = string(long) }), "recipient: "},
		{"short recipient with a checksum", edited(func(r *tokenRequest) { r.Recipient = string(short) }), "recipient: "},
		{"recipient of another kind", edited(func(r *tokenRequest) { r.Recipient = user }), "recipient: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			msg, err := r.bus.Conn().Request(subjectToken, []byte(tt.body), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			reply := parse[tokenReply](t, string(msg.Data))
			if reply.Error == nil || reply.Error.Code != events.CodeInvalidParams || !strings.Contains(reply.Error.Message, tt.want) {
				t.Errorf("got %s, want %q", msg.Data, tt.want)
			}
			if msg.Header.Get(micro.ErrorCodeHeader) != string(events.CodeInvalidParams) || len(reply.Sealed) > 0 {
				t.Errorf("header %v, sealed %x", msg.Header, reply.Sealed)
			}
		})
	}
}

func TestRequestsWithoutAnInboxAreIgnored(t *testing.T) {
	r := newRig(t)
	r.serveToken([]byte("{}"), "", nil)
	if log := r.log.String(); log != "" {
		t.Errorf("log: %s", log)
	}
}

func TestAPanicStaysInItsRequest(t *testing.T) {
	r := newRig(t)
	r.connect(t, "u1", "github", "ghp_canary")
	store := *r.store
	store.providers = nil // what cannot happen, happens
	r.store = &store
	r.serve(t)
	client := newClient(t, r)
	for range maxRequests + 1 { // each gives its slot back
		_, err := client.Credential(t.Context(), "u1", "github", "")
		wantCode(t, err, events.CodeInternal)
	}
	if log := r.log.String(); !strings.Contains(log, "token request panicked") || strings.Contains(log, "ghp_canary") {
		t.Errorf("log: %s", log)
	}
}

func TestTroubleOfOurOwnHasANumber(t *testing.T) {
	r := newRig(t)
	r.serve(t)
	if err := r.bus.JetStream().DeleteKeyValue(t.Context(), events.BucketConnections); err != nil {
		t.Fatal(err)
	}
	_, err := newClient(t, r).Credential(t.Context(), "u1", "github", "con_1")
	e := wantCode(t, err, events.CodeInternal)
	if e.RequestID == "" || !e.Retryable || !strings.Contains(r.log.String(), e.RequestID) {
		t.Errorf("got %+v, log %s", e, r.log)
	}
}

func TestManyAskAtTheSameTime(t *testing.T) {
	r := newRig(t)
	r.serve(t)
	const users, each = 4, 50
	for i := range users {
		r.connect(t, fmt.Sprint("u", i), "github", fmt.Sprint("token of ", i))
	}
	client := newClient(t, r)
	var wait sync.WaitGroup
	for i := range users {
		for range each {
			wait.Go(func() {
				got, err := client.Credential(context.Background(), fmt.Sprint("u", i), "github", "")
				if err != nil || !got.Token.Equal(secret(fmt.Sprint("token of ", i))) {
					t.Errorf("user %d: %v", i, err)
				}
			})
		}
	}
	wait.Wait()
}

// slow is a bucket that takes its time to read a record.
type slow struct {
	jetstream.KeyValue
	entered, leave chan struct{}
}

func (s *slow) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	close(s.entered)
	<-s.leave
	return s.KeyValue.Get(ctx, key)
}

func TestRunAnswersWhatItHasInHand(t *testing.T) {
	r := newRig(t)
	r.connect(t, "u1", "github", "ghp_1")
	entered, leave := make(chan struct{}), make(chan struct{})
	store := *r.store
	store.kv = &slow{KeyValue: store.kv, entered: entered, leave: leave}
	r.store = &store
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	client := newClient(t, r)
	got := make(chan error, 1)
	go func() {
		for {
			_, err := client.Credential(context.Background(), "u1", "github", "con_1")
			var e *events.Error
			if errors.As(err, &e) && e.Message == "auth service is not running" {
				continue // not yet
			}
			got <- err
			return
		}
	}()
	<-entered
	stop()
	for { // until it takes no more
		_, err := r.bus.Conn().Request(subjectToken, nil, time.Second)
		if errors.Is(err, nats.ErrNoResponders) {
			break
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("Run returned with a request in hand: %v", err)
	default:
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wantCode(t, <-got, events.CodeConnectionNotFound)
	_, err := client.Credential(t.Context(), "u1", "github", "")
	if e := wantCode(t, err, events.CodeInternal); e.Message != "auth service is not running" {
		t.Errorf("after Run: %v", e)
	}
}

func TestRunWithoutAConnection(t *testing.T) {
	r := newRig(t)
	r.bus.Conn().Close()
	if err := r.Run(t.Context()); err == nil {
		t.Error("it runs")
	}
}

func FuzzGrantToken(f *testing.F) {
	r := newRig(f)
	const token = "ghp_fuzzed_canary"
	r.connect(f, "u1", "github", token)
	r.refresher.stopped = true // a refusal that is reported changes nothing
	client := newClient(f, r)
	f.Add(encode(f, client.request("u1", "github", "")))
	f.Add(encode(f, client.request("u1", "github", "*")))
	f.Add([]byte(`{"user_id":"u1","provider":"github","recipient":"X","nonce":"n"}`))
	f.Add([]byte(`{"user_id":"*","provider":">","recipient":"` + strings.Repeat("A", 60) + `","nonce":"n"}`))
	f.Add([]byte(`null`))
	seen := client.request("u1", "github", "")
	seen.SeenVersion, seen.Asker = 1, "executor"
	f.Add(encode(f, seen))
	seen.SeenVersion = -1
	f.Add(encode(f, seen))
	f.Fuzz(func(t *testing.T, data []byte) {
		reply, err := r.grantToken(t.Context(), data, nil)
		if err != nil {
			if e := r.failure(err); e.Code == events.CodeInternal {
				t.Fatalf("a request made us fail: %v", err)
			}
			return
		}
		var request tokenRequest
		if err := json.Unmarshal(data, &request); err != nil || request.UserID != "u1" || request.Provider != "github" {
			t.Errorf("granted for %q", data)
		}
		if strings.Contains(string(encode(t, reply)), token) {
			t.Error("the token is in the clear")
		}
	})
}
