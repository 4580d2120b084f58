package auth

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
)

// wiretap keeps every message that a subscriber to ">" sees.
type wiretap struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *wiretap) take(msg *nats.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.text, "%s %s %v %s\n", msg.Subject, msg.Reply, msg.Header, msg.Data)
}

func (w *wiretap) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// disguises are the ways in which a token could stand somewhere.
func disguises(token string) []string {
	return []string{
		token, hex.EncodeToString([]byte(token)),
		// base64 at each of the three places where a group of it can begin,
		// without the characters that depend on what stands around it
		base64.RawStdEncoding.EncodeToString([]byte(token))[:20],
		base64.RawStdEncoding.EncodeToString([]byte("x" + token))[4:20],
		base64.RawStdEncoding.EncodeToString([]byte("xx" + token))[4:20],
	}
}

func TestNobodySeesAToken(t *testing.T) {
	const token = "ghp_canary_7c1f5e0b9d3a48e6"
	r := newRig(t)
	r.serve(t)
	tap := &wiretap{}
	subscription, err := r.bus.Conn().Subscribe(">", tap.take)
	if err != nil {
		t.Fatal(err)
	}
	w := newWeb(t, r)
	var seen strings.Builder // all that the HTTP API answers
	body := func(provider, extra string) string {
		return `{"user_id":"u1","provider":"` + provider + `","token":"` + token + `"` + extra + `}`
	}
	ask := func(method, path, body string) answer {
		got := w.do(t, method, path, body)
		fmt.Fprintln(&seen, got.header, got.body)
		return got
	}
	made := ask("POST", pathConnections, body("github", ""))
	if made.status != http.StatusCreated {
		t.Fatal(made.body)
	}
	c := parse[events.Connection](t, made.body)
	ask("GET", pathConnections, "")
	ask("GET", pathConnections+"/"+c.ID, "")
	for _, wrong := range []string{
		body("gihub", ""), body("weather", ""), body("github", `,"auth":"app"`), body("github", `,"x":"`+token+`"`), body("github", `,"name":7`),
		body("github", "")[1:], body("github", "")[:40], `["` + token + `"]`, `"` + token + `"`,
		`{"user_id":"u1","provider":"github","token":"` + token + `\n"}`,
		`{"user_id":"u1","provider":"github","token":["` + token + `"]}`,
		`{"user_id":"u1","provider":"github","token":"` + strings.Repeat(token, 1000) + `"}`,
		`{"user_id":"u1","provider":"github","token":"` + strings.Repeat(token, 4000) + `"}`,
	} {
		if got := ask("POST", pathConnections, wrong); got.status < 400 {
			t.Fatalf("accepted: %s", wrong)
		}
	}
	ask("GET", pathConnections+"?limit="+token, "")
	w.key = "Bearer " + token
	ask("POST", pathConnections, body("github", ""))
	w.key = "Bearer " + apiKey

	client := newClient(t, r)
	got, err := client.Credential(t.Context(), "u1", "github", "")
	if err != nil || !got.Token.Equal(secret(token)) {
		t.Fatalf("the token itself does not arrive: %v", err)
	}
	fmt.Fprintf(&seen, "%v %+v %#v %s\n", got, got, got, encode(t, got))
	// A second connection with a record of the first: every error there is.
	second := parse[events.Connection](t, ask("POST", pathConnections, body("github", "")).body)
	for _, id := range []string{"", second.ID, "con_none"} {
		if id == second.ID {
			r.overwrite(t, second, []byte(`{"id":"`+second.ID+`"}`))
		}
		_, err := client.Credential(t.Context(), "u1", "github", id)
		if err == nil {
			t.Fatalf("connection %q: granted", id)
		}
		fmt.Fprintln(&seen, err)
	}
	ask("GET", pathConnections, "")
	ask("DELETE", pathConnections+"/"+c.ID, "")
	ask("DELETE", pathConnections+"/"+second.ID, "")

	if err := r.bus.Conn().Flush(); err != nil { // all that was sent has arrived
		t.Fatal(err)
	}
	drained := make(chan struct{})
	subscription.SetClosedHandler(func(string) { close(drained) })
	if err := subscription.Drain(); err != nil {
		t.Fatal(err)
	}
	<-drained
	// While somebody listens to everything, nothing is without a responder, and
	// this would last as long as the bus is waited for.
	if err := r.bus.JetStream().DeleteKeyValue(t.Context(), events.BucketConnections); err != nil {
		t.Fatal(err)
	}
	if got := ask("POST", pathConnections, body("github", "")); got.status != http.StatusInternalServerError {
		t.Fatalf("without a bucket: %d", got.status)
	}

	for name, text := range map[string]string{"the bus": tap.String(), "the log": r.log.String(), "an answer": seen.String()} {
		for _, disguise := range disguises(token) {
			if i := strings.Index(text, disguise); i >= 0 {
				t.Errorf("the token is on %s: …%s", name, text[max(i-200, 0):i+len(disguise)])
			}
		}
	}
	for _, part := range []string{"$KV.PLUGFN_CONNECTIONS", "plugfn.connection.u1.github.created", "plugfn.connection.u1.github.deleted", subjectToken, `"sealed":"`} {
		if !strings.Contains(tap.String(), part) {
			t.Errorf("the tap does not see %s: the test proves nothing", part)
		}
	}
}

// The proof that the tap would find it: a bus on which the token is.
func TestATapFindsAToken(t *testing.T) {
	const token = "ghp_canary_7c1f5e0b9d3a48e6"
	for i, text := range []string{
		token, `{"token":"` + token + `"}`, hex.EncodeToString([]byte("a" + token)),
		base64.StdEncoding.EncodeToString([]byte(`{"token":"` + token + `"}`)),
		base64.StdEncoding.EncodeToString([]byte(`{ "token":"` + token + `"}`)),
		base64.StdEncoding.EncodeToString([]byte(`{  "token":"` + token + `"}`)),
	} {
		found := false
		for _, disguise := range disguises(token) {
			found = found || strings.Contains(text, disguise)
		}
		if !found {
			t.Errorf("text %d is not found out", i)
		}
	}
}
