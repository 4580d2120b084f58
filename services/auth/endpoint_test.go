package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// makeEndpoint makes an endpoint of user u1.
func (f *flowRig) makeEndpoint(t testing.TB, more string) endpointView {
	t.Helper()
	got := f.do(t, "POST", pathEndpoints, `{"provider":"strict","user_id":"u1"`+more+`}`)
	if got.status != http.StatusCreated {
		t.Fatalf("create: %d %s", got.status, got.body)
	}
	return parse[endpointView](t, got.body)
}

// endpoint does something with an endpoint that has to succeed.
func (f *flowRig) endpoint(t testing.TB, method, path, body string) endpointView {
	t.Helper()
	got := f.do(t, method, pathEndpoints+"/"+path, body)
	if got.status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	return parse[endpointView](t, got.body)
}

func token(v *endpointView) string { return v.Path[strings.LastIndex(v.Path, "/")+1:] }

// endpointFollower runs an Endpoints until the test ends.
func (f *flowRig) endpointFollower(t testing.TB) *Endpoints {
	t.Helper()
	x, err := NewEndpoints(EndpointsConfig{
		Conn: f.bus.Conn(), JetStream: f.bus.JetStream(), Providers: f.cfg.Providers, Log: zerolog.New(f.log), Now: f.cfg.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-x.Loaded()
	return x
}

// until waits for what a follower says of an endpoint.
func (x *Endpoints) until(t testing.TB, v *endpointView, what string, ok func(e endpoint.Endpoint, found bool) bool) endpoint.Endpoint {
	t.Helper()
	for t.Context().Err() == nil {
		if e, found, all := x.Endpoint("strict", token(v)); all && ok(e, found) {
			return e
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
	return endpoint.Endpoint{}
}

func hasSecrets(want ...string) func(endpoint.Endpoint, bool) bool {
	return func(e endpoint.Endpoint, found bool) bool {
		var got []string
		for _, s := range e.Secrets {
			got = append(got, string(s.Reveal()))
		}
		slices.Sort(got)
		return found && slices.Equal(got, slices.Sorted(slices.Values(want)))
	}
}

func TestEndpointLife(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	x := f.endpointFollower(t)
	v := f.makeEndpoint(t, `,"name":"repo"`)
	if v.State != endpoint.Active || len(v.Secret) != 64 || v.URL != f.URL+v.Path || len(token(&v)) != 27 || strings.Contains(v.ID, token(&v)) {
		t.Fatalf("made %+v", v)
	}
	e := x.until(t, &v, "the endpoint", hasSecrets(v.Secret))
	if e.ID != v.ID || e.UserID != "u1" || e.ConnectionID != "" || e.URL != v.URL || e.State != endpoint.Active {
		t.Errorf("handed out %+v", e)
	}
	if _, found, _ := x.Endpoint("other", token(&v)); found {
		t.Error("found below another provider")
	}
	if shown := f.endpoint(t, "GET", v.ID, ""); shown.Secret != "" || len(shown.Secrets) != 1 || shown.Name != "repo" {
		t.Errorf("shown %+v", shown)
	}
	// A new secret is good at once, the one before for an hour.
	rotated := f.endpoint(t, "POST", v.ID+"/rotate", `{"overlap_seconds":3600}`)
	if rotated.Secret == "" || rotated.Secret == v.Secret || len(rotated.Secrets) != 2 || rotated.Path != v.Path {
		t.Fatalf("rotated %+v", rotated)
	}
	x.until(t, &v, "both secrets", hasSecrets(v.Secret, rotated.Secret))
	f.now.Store(3601)
	x.until(t, &v, "the end of the first", hasSecrets(rotated.Secret))
	given := f.endpoint(t, "POST", v.ID+"/rotate", `{"secret":"given","overlap_seconds":0}`)
	if given.Secret != "" || len(given.Secrets) != 1 {
		t.Errorf("given %+v", given)
	}
	x.until(t, &v, "the given one alone", hasSecrets("given"))
	if got := f.endpoint(t, "PATCH", v.ID, `{"name":"","url":"https://hooks.example/x"}`); got.Name != "" || got.URL != "https://hooks.example/x" || len(got.Secrets) != 1 {
		t.Errorf("amended %+v", got)
	}
	x.until(t, &v, "the URL", func(e endpoint.Endpoint, _ bool) bool { return e.URL == "https://hooks.example/x" })
	if got := f.endpoint(t, "POST", v.ID+"/pause", ""); got.State != endpoint.Paused {
		t.Errorf("paused %+v", got)
	}
	x.until(t, &v, "the pause", func(e endpoint.Endpoint, _ bool) bool { return e.State == endpoint.Paused })
	if got := f.endpoint(t, "POST", v.ID+"/resume", ""); got.State != endpoint.Active {
		t.Errorf("resumed %+v", got)
	}
	late := f.endpointFollower(t) // after the fact
	late.until(t, &v, "the endpoint", hasSecrets("given"))
	if got := f.do(t, "DELETE", pathEndpoints+"/"+v.ID, ""); got.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", got.status, got.body)
	}
	for _, follower := range []*Endpoints{x, late} {
		follower.until(t, &v, "the end", func(_ endpoint.Endpoint, found bool) bool { return !found })
	}
	if got := f.do(t, "GET", pathEndpoints+"/"+v.ID, ""); got.status != http.StatusNotFound {
		t.Errorf("get: %d", got.status)
	}
}

func TestEndpointOfAConnection(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	x := f.endpointFollower(t)
	c := events.Connection{ID: f.connected(t, ""), UserID: "u1"}
	other := f.keep(t, "con_2", "text") // at another provider
	v := f.makeEndpoint(t, `,"connection_id":"`+c.ID+`"`)
	lone := f.makeEndpoint(t, "")
	x.until(t, &v, "the endpoint", func(e endpoint.Endpoint, found bool) bool { return found && e.ConnectionID == c.ID })
	for body, status := range map[string]int{
		`{"provider":"strict","user_id":"u2","connection_id":"` + c.ID + `"}`:     http.StatusNotFound, // it is u1's
		`{"provider":"strict","user_id":"u1","connection_id":"` + other.ID + `"}`: http.StatusUnprocessableEntity,
	} {
		if got := f.do(t, "POST", pathEndpoints, body); got.status != status {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	for query, want := range map[string]int{
		"": 2, "?user_id=u1": 2, "?user_id=u2": 0, "?connection_id=" + c.ID: 1, "?provider=strict": 2, "?provider=bare": 0, "?state=active": 2, "?state=paused": 0, "?limit=1": 1,
	} {
		if got := f.views(t, query); len(got.Webhooks) != want {
			t.Errorf("%q lists %d, want %d", query, len(got.Webhooks), want)
		}
	}
	first := f.views(t, "?limit=1")
	second := f.views(t, "?limit=1&cursor="+first.NextCursor)
	if first.Webhooks[0].ID != v.ID || len(second.Webhooks) != 1 || second.Webhooks[0].ID != lone.ID || second.NextCursor != "" {
		t.Errorf("pages %+v, %+v", first, second)
	}
	if got := f.do(t, "GET", pathEndpoints+"/"+v.ID+"?user_id=u2", ""); got.status != http.StatusNotFound {
		t.Errorf("another user's endpoint: %d", got.status)
	}
	// What is received for a connection ends with it.
	if err := f.delete(t.Context(), "u1", c.ID); err != nil {
		t.Fatal(err)
	}
	x.until(t, &v, "the end", func(_ endpoint.Endpoint, found bool) bool { return !found })
	if got := f.views(t, ""); len(got.Webhooks) != 1 || got.Webhooks[0].ID != lone.ID {
		t.Errorf("left %+v", got)
	}
}

type endpointViews struct {
	Webhooks   []endpointView `json:"webhooks"`
	NextCursor string         `json:"next_cursor"`
}

func (f *flowRig) views(t testing.TB, query string) endpointViews {
	t.Helper()
	got := f.do(t, "GET", pathEndpoints+query, "")
	if got.status != http.StatusOK {
		t.Fatalf("list: %d %s", got.status, got.body)
	}
	return parse[endpointViews](t, got.body)
}

func TestEndpointRefuses(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	v := f.makeEndpoint(t, "")
	long := strings.Repeat("x", 9000)
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"unknown provider": {"POST", "", `{"provider":"strct","user_id":"u1"}`, 404, "did you mean strict?"},
		"no deliveries":    {"POST", "", `{"provider":"bare","user_id":"u1"}`, 422, "bare sends no deliveries"},
		"no user":          {"POST", "", `{"provider":"strict","user_id":""}`, 422, "user_id"},
		"control user":     {"POST", "", `{"provider":"strict","user_id":"a\u0000b"}`, 422, "user_id"},
		"no connection":    {"POST", "", `{"provider":"strict","user_id":"u1","connection_id":"con_x"}`, 404, "con_x"},
		"long secret":      {"POST", "", `{"provider":"strict","user_id":"u1","secret":"canary` + long + `"}`, 422, "secret: longer"},
		"both":             {"POST", "", `{"provider":"strict","user_id":"u1","secret":"canary","secret_later":true}`, 422, "goes without secret_later"},
		"url":              {"POST", "", `{"provider":"strict","user_id":"u1","url":"ftp://x"}`, 422, "url: must begin"},
		"url with user":    {"POST", "", `{"provider":"strict","user_id":"u1","url":"https://a:canary@x/"}`, 422, "url: must have no user"},
		"parameters":       {"POST", "", `{"provider":"strict","user_id":"u1","webhooks":{"event":["json:/kind"]}}`, 422, "webhooks: the webhooks of strict have no parameters"},
		"name":             {"POST", "", `{"provider":"strict","user_id":"u1","name":"a\tb"}`, 422, "name"},
		"misspelled":       {"POST", "", `{"provider":"strict","user_id":"u1","connexion":"con_x"}`, 422, "connexion"},
		"overlap":          {"POST", "/" + v.ID + "/rotate", `{"overlap_seconds":-1}`, 422, "overlap_seconds"},
		"empty change":     {"PATCH", "/" + v.ID, `{}`, 422, "change something"},
		"bad change":       {"PATCH", "/" + v.ID, `{"url":"x"}`, 422, "url"},
		"nobody":           {"GET", "/whk_0", ``, 404, "no such endpoint"},
		"wildcard":         {"GET", "/%2A", ``, 404, "no such endpoint"},
		"pause nobody":     {"POST", "/whk_0/pause", ``, 404, "no such endpoint"},
		"state":            {"GET", "?state=asleep", ``, 422, "state"},
		"query":            {"GET", "?user=u1", ``, 422, "user"},
	} {
		got := f.do(t, tt.method, pathEndpoints+tt.path, tt.body)
		if got.status != tt.status || !strings.Contains(got.problem(t).Detail, tt.want) || strings.Contains(got.body, "canary") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	f.key = "Bearer wrong"
	if got := f.do(t, "GET", pathEndpoints, ""); got.status != http.StatusUnauthorized {
		t.Errorf("without the key: %d", got.status)
	}
}

func TestEndpointSecretsAreSealed(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	tap := &wiretap{}
	subscription, err := f.bus.Conn().Subscribe(">", tap.take)
	if err != nil {
		t.Fatal(err)
	}
	const canary = "whs-canary-51bd0a77c2e94f10"
	x := f.endpointFollower(t)
	v := f.makeEndpoint(t, `,"secret":"`+canary+`"`)
	x.until(t, &v, "the endpoint", hasSecrets(canary))
	if err := f.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := subscription.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tap.String(), subjectEndpoints) || !strings.Contains(tap.String(), "sealed") {
		t.Error("the tap has heard nothing: the test proves nothing")
	}
	for name, text := range map[string]string{"the bus": tap.String(), "the log": f.log.String(), "the store": f.dump(t, bus.BucketEndpoints)} {
		for _, secret := range []string{canary, token(&v)} {
			for _, disguise := range disguises(secret) {
				if strings.Contains(text, disguise) {
					t.Errorf("a secret is on %s", name)
				}
			}
		}
	}
}

// TestEndpointIsBoundToItsUser: a record that is rewritten to give somebody's
// events to another opens for nobody.
func TestEndpointIsBoundToItsUser(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	x := f.endpointFollower(t)
	v := f.makeEndpoint(t, "")
	x.until(t, &v, "the endpoint", func(_ endpoint.Endpoint, found bool) bool { return found })
	kv := bucket(t, f.bus, bus.BucketEndpoints)
	entry, err := kv.Get(t.Context(), events.Key("u1", "", v.ID))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), events.Key("u2", "", v.ID), []byte(strings.Replace(string(entry.Value()), `"u1"`, `"u2"`, 1))); err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), entry.Key()); err != nil {
		t.Fatal(err)
	}
	x.until(t, &v, "nobody's endpoint", func(_ endpoint.Endpoint, found bool) bool { return !found })
	if got := f.views(t, ""); len(got.Webhooks) != 0 {
		t.Errorf("lists %+v", got)
	}
}

// pending makes an endpoint without a secret, as an ingress knows it.
func (f *flowRig) pending(t testing.TB, x *Endpoints) (endpointView, endpoint.Endpoint) {
	t.Helper()
	v := f.makeEndpoint(t, `,"secret_later":true`)
	if v.State != endpoint.Pending || len(v.Secrets) != 0 || v.Secret != "" {
		t.Fatalf("made %+v", v)
	}
	return v, x.until(t, &v, "the endpoint", func(e endpoint.Endpoint, found bool) bool { return found && e.State == endpoint.Pending })
}

func TestLearnedSecret(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	x := f.endpointFollower(t)
	v, e := f.pending(t, x)
	ctx := t.Context()
	if err := x.Learn(ctx, e, providers.NewSecret([]byte("learned-canary"))); err != nil {
		t.Fatal(err)
	}
	x.until(t, &v, "the secret", hasSecrets("learned-canary"))
	if got := f.endpoint(t, "GET", v.ID, ""); got.State != endpoint.Active || len(got.Secrets) != 1 || !got.Secrets[0].Learned {
		t.Errorf("now %+v", got)
	}
	if err := x.Learn(ctx, e, providers.NewSecret([]byte("second"))); err == nil {
		t.Error("an active endpoint took another secret")
	}
	// It may be set by hand instead, and then no handshake brings one.
	v, e = f.pending(t, x)
	f.endpoint(t, "POST", v.ID+"/rotate", `{"secret":"by hand"}`)
	x.until(t, &v, "the secret", hasSecrets("by hand"))
	if err := x.Learn(ctx, e, providers.NewSecret([]byte("second"))); err == nil {
		t.Error("an active endpoint took another secret")
	}
	x.until(t, &v, "no change", hasSecrets("by hand"))
}

// TestLearnedSecretOnTheBus goes behind the back of the client, as two
// handshakes at once or somebody with the ingress's permissions would.
func TestLearnedSecretOnTheBus(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	x := f.endpointFollower(t)
	v, e := f.pending(t, x)
	w, other := f.pending(t, x)
	tell := func(key, about, trust string, ticket []byte, secret string) error {
		plain, err := json.Marshal(learnedSecret{Key: about, Secret: []byte(secret)})
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := x.pair.Seal(plain, trust)
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.request(t.Context(), subjectEndpointsLearned, learnedRequest{Key: key, Ticket: ticket, Sender: x.public, Sealed: sealed})
		return err
	}
	mine, theirs := x.kept[e.Key], x.kept[other.Key]
	for name, err := range map[string]error{
		"ticket of another":     tell(e.Key, e.Key, theirs.trust, theirs.ticket, "s"),
		"about another":         tell(e.Key, other.Key, mine.trust, mine.ticket, "s"),
		"sealed to another":     tell(e.Key, e.Key, theirs.trust, mine.ticket, "s"),
		"no ticket":             tell(e.Key, e.Key, mine.trust, nil, "s"),
		"secret with a newline": tell(e.Key, e.Key, mine.trust, mine.ticket, "s\n"),
		"no secret":             tell(e.Key, e.Key, mine.trust, mine.ticket, ""),
		"no endpoint":           tell("a.b.c", "a.b.c", mine.trust, mine.ticket, "s"),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := tell(e.Key, e.Key, mine.trust, mine.ticket, "s"); err != nil {
		t.Fatal(err)
	}
	if err := tell(e.Key, e.Key, mine.trust, mine.ticket, "s"); err != nil {
		t.Errorf("the same, said again: %v", err)
	}
	if err := tell(e.Key, e.Key, mine.trust, mine.ticket, "t"); err == nil {
		t.Error("an active endpoint took another secret")
	}
	x.until(t, &v, "the first secret", hasSecrets("s"))
	x.until(t, &w, "no secret", hasSecrets())
}

func TestDeliveriesAreNoted(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	x := f.endpointFollower(t)
	v := f.makeEndpoint(t, "")
	e := x.until(t, &v, "the endpoint", func(_ endpoint.Endpoint, found bool) bool { return found })
	if got := f.endpoint(t, "GET", v.ID, ""); !got.LastDeliveryAt.IsZero() {
		t.Errorf("delivered at %s before anything was", got.LastDeliveryAt)
	}
	for range 100 {
		x.Seen(e)
	}
	if batches := x.untold(); len(batches) != 1 || len(batches[0]) != 1 {
		t.Fatalf("to tell: %v", batches)
	}
	f.now.Store(61)
	x.Seen(e)
	for f.endpoint(t, "GET", v.ID, "").LastDeliveryAt.IsZero() {
		if t.Context().Err() != nil {
			t.Fatal("the delivery is not noted")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestEndpointParameters: an endpoint may have a webhooks block of its own where
// the pack allows it, and waits for the provider where that has to confirm it.
func TestEndpointParameters(t *testing.T) {
	pack := slices.Clone(strictWebhooks)
	pack[len(pack)-1] = strings.Replace(pack[len(pack)-1], "webhooks:\n", "webhooks:\n  parametrised: true\n", 1)
	f := newFlowRig(t, flowOptions{pack: pack})
	x := f.endpointFollower(t)
	v := f.makeEndpoint(t, `,"webhooks":{"event":["json:/kind"]}`)
	if v.State != endpoint.Active || len(v.Webhooks) != 1 {
		t.Errorf("made %+v", v)
	}
	e := x.until(t, &v, "the endpoint", func(e endpoint.Endpoint, found bool) bool { return found && e.Webhooks != nil })
	if e.Webhooks.Verifiers[0].Scheme != "hmac" || len(e.Webhooks.Event) != 1 {
		t.Errorf("block %+v", e.Webhooks)
	}
	if own, _ := x.Webhooks(e.ID); own != e.Webhooks {
		t.Errorf("by its id %+v", own)
	}
	if own, _ := x.Webhooks("whk_none"); own != nil {
		t.Errorf("of no endpoint %+v", own)
	}
	for _, wrong := range []string{`{"evnt":["json:/kind"]}`, `{"event":["jsn:/kind"]}`, `{"verify":[]}`} {
		if got := f.do(t, "PATCH", pathEndpoints+"/"+v.ID, `{"webhooks":`+wrong+`}`); got.status != 422 || !strings.Contains(got.problem(t).Detail, "webhooks") {
			t.Errorf("%s: %d %s", wrong, got.status, got.body)
		}
	}
	// The block must go with the secrets that there are, and with what the operator allows.
	hex := `{"verify":[{"scheme":"hmac","hash":"sha256","key":"hex","signature":{"from":"header:X-Sig","encoding":"hex"},"message":[{"body":"raw"}]}]}`
	f.endpoint(t, "PATCH", v.ID, `{"webhooks":`+hex+`}`) // the secret that was made is in hex
	v = f.makeEndpoint(t, `,"secret":"no-canary-hex","webhooks":{"event":["json:/kind"]}`)
	for fragment, want := range map[string]string{
		hex:                              "of the endpoint would not fit",
		`{"verify":[{"scheme":"none"}]}`: "allow_unsigned",
		`{"verify":[{"scheme":"jwt","algorithms":["RS256"],"signature":{"from":"header:A"},"audience":["a"],"jwks":"https://evil.example/k"}]}`: "endpoint_hosts",
	} {
		got := f.do(t, "PATCH", pathEndpoints+"/"+v.ID, `{"webhooks":`+fragment+`}`)
		if got.status != 422 || !strings.Contains(got.problem(t).Detail, want) || strings.Contains(got.body, "canary") {
			t.Errorf("%s: %d %s", fragment, got.status, got.body)
		}
	}
	if got := f.endpoint(t, "GET", v.ID, ""); len(got.Webhooks) != 1 || got.Webhooks["event"] == nil {
		t.Errorf("changed to %+v", got.Webhooks)
	}
	v = f.makeEndpoint(t, `,"secret":"given","webhooks":{"handshake":[{"when":{"json:/type":"hello"},"signed":"none","only":"pending"}]}`)
	if v.State != endpoint.Pending || len(v.Secrets) != 1 {
		t.Errorf("made %+v", v)
	}
	e = x.until(t, &v, "the endpoint", hasSecrets("given"))
	if err := x.Learn(t.Context(), e, secret("second")); err == nil {
		t.Error("a handshake added to the secret that was given")
	}
	x.Seen(e) // the first genuine delivery
	x.until(t, &v, "an active endpoint", func(e endpoint.Endpoint, _ bool) bool { return e.State == endpoint.Active })
}

// TestPausedBeforeItWasConfirmed: a pause confirms nothing. The endpoint waits
// again after it, unless a person has given what it waited for.
func TestPausedBeforeItWasConfirmed(t *testing.T) {
	pack := slices.Clone(strictWebhooks)
	pack[len(pack)-1] = strings.Replace(pack[len(pack)-1], "webhooks:\n", "webhooks:\n  parametrised: true\n", 1)
	f := newFlowRig(t, flowOptions{pack: pack})
	const confirmed = `,"webhooks":{"handshake":[{"when":{"json:/type":"hello"},"signed":"none","only":"pending"}]}`
	for name, tt := range map[string]struct {
		made, between string
		want          endpoint.State
	}{
		"waiting to be confirmed":      {`,"secret":"given"` + confirmed, "", endpoint.Pending},
		"waiting, and a new secret":    {`,"secret":"given"` + confirmed, `{"secret":"another"}`, endpoint.Pending},
		"without a secret":             {`,"secret_later":true`, "", endpoint.Pending},
		"without one, and then it has": {`,"secret_later":true`, `{"secret":"given"}`, endpoint.Active},
		"active":                       {`,"secret":"given"`, "", endpoint.Active},
	} {
		v := f.makeEndpoint(t, tt.made)
		for range 2 { // a second pause forgets nothing
			f.endpoint(t, "POST", v.ID+"/pause", "")
			f.endpoint(t, "POST", v.ID+"/pause", "")
			if tt.between != "" {
				f.endpoint(t, "POST", v.ID+"/rotate", tt.between)
			}
			if got := f.endpoint(t, "POST", v.ID+"/resume", ""); got.State != tt.want {
				t.Errorf("%s: %s, want %s", name, got.State, tt.want)
			}
		}
	}
}

// TestLearnedSecretFits: a secret that the pack cannot use is not stored.
func TestLearnedSecretFits(t *testing.T) {
	pack := slices.Clone(strictWebhooks)
	pack[len(pack)-1] = strings.Replace(pack[len(pack)-1], "webhooks:\n", "webhooks:\n  parametrised: true\n", 1)
	f := newFlowRig(t, flowOptions{pack: pack})
	x := f.endpointFollower(t)
	v := f.makeEndpoint(t, `,"secret_later":true,"webhooks":{"verify":[{"scheme":"hmac","hash":"sha256","key":"hex","signature":{"from":"header:X-Sig","encoding":"hex"},"message":[{"body":"raw"}]}]}`)
	e := x.until(t, &v, "the endpoint", func(e endpoint.Endpoint, found bool) bool { return found && e.State == endpoint.Pending })
	var told *events.Error
	if err := x.Learn(t.Context(), e, secret("no hex")); !errors.As(err, &told) || told.Code != events.CodeInvalidParams {
		t.Errorf("got %v", err)
	}
	if err := x.Learn(t.Context(), e, secret("abcd")); err != nil {
		t.Error(err)
	}
}

// TestManyEndpoints: a follower learns of more than one request holds, and those
// that nobody can read do not keep it from the others.
func TestManyEndpoints(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks, idle: true})
	kv := bucket(t, f.bus, bus.BucketEndpoints)
	var views []endpointView
	for i := range 3 * maxEndpointsAsked / 2 {
		r, _, err := f.endpoints.create(t.Context(), endpointInput{Provider: "strict", UserID: fmt.Sprint("u", i)})
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.endpoints.view(t.Context(), &r, providers.Secret{})
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, v)
	}
	if _, err := kv.PutString(t.Context(), "u._.broken", "{"); err != nil {
		t.Fatal(err)
	}
	x := f.endpointFollower(t)
	if _, _, all := x.Endpoint("strict", "nobody"); all {
		t.Error("it knows everything although nobody told it")
	}
	f.serve(t)
	for _, v := range views {
		x.until(t, &v, "each endpoint", func(_ endpoint.Endpoint, found bool) bool { return found })
	}
}

func TestEndpointsAreReencrypted(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	v := f.makeEndpoint(t, `,"secret":"one"`)
	f.endpoint(t, "POST", v.ID+"/rotate", `{"secret":"two"}`)
	var entry jetstream.KeyValueEntry
	entry, err := bucket(t, f.bus, bus.BucketEndpoints).Get(t.Context(), events.Key("u1", "", v.ID))
	if err != nil {
		t.Fatal(err)
	}
	values, err := endpointValues(entry.Key(), entry.Value())
	if err != nil || len(values) != 3 {
		t.Fatalf("%d values, %v", len(values), err)
	}
	for _, value := range values {
		if _, err := f.cfg.Keys.openAt(value.text, value.place); err != nil {
			t.Error(err)
		}
	}
}
