package ingress

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// askedPack is a provider that is asked whether deliveries are its.
const askedPack = `apiVersion: plugfn.dev/v1
kind: Provider
name: asked
version: 1.0.0
display: {name: Asked}
event_prefix: com.asked
auth: [{id: none, type: none}]
http: {base_url: "%s"}
actions:
  things.get: {summary: Read a thing, effect: read, params: {type: object, additionalProperties: false}, request: {method: GET, path: /thing}}
webhooks:
  bodies: [json]
  secrets: [{name: webhook_id}]
  verify:
    - scheme: callback
      signature: {from: header:X-Sig}
      call: {method: POST, path: /verify, auth: basic, body: {sig: header:X-Sig, id: {secret: webhook_id}, event: {body: json}}, success: body.status == 'ok', example: {status: 200, body: {status: ok}}}
  delivery_id: [json:/id]
  event: [json:/type]
`

// asked is the registry of that provider, whose API is at base.
func asked(t *testing.T, base string) *providers.Registry {
	t.Helper()
	pack, err := providers.Load(fstest.MapFS{"asked/provider.yaml": {Data: fmt.Appendf(nil, askedPack, base)}}, "asked")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"asked": pack}, map[string]providers.App{"asked": {
		ClientID: "client", ClientSecret: providers.NewSecret([]byte("s3cret")),
		WebhookSecrets: []providers.Secret{providers.NewSecret([]byte("wh-1"))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func question(path string) providers.Call {
	return providers.Call{Provider: "asked", Method: http.MethodPost, Path: path, Auth: "basic", Body: []byte(`{"id":"wh-1"}`)}
}

// TestCallerAsks: the provider gets the question with the app's credentials, and
// what it says comes back as it is. Nobody is led elsewhere by it, and no answer
// is read without an end.
func TestCallerAsks(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method != http.MethodPost, user != "client", password != "s3cret", string(body) != `{"id":"wh-1"}`,
			r.Header.Get("Content-Type") != "application/json":
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case r.URL.Path == "/full":
			_, _ = w.Write([]byte(strings.Repeat("a", maxCallAnswer)))
		case r.URL.Path == "/large":
			_, _ = w.Write([]byte(strings.Repeat("a", maxCallAnswer+1)))
		case r.URL.Path == "/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("a"))
		default:
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"status":"ok"}`))
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	caller := NewCaller(asked(t, server.URL), client)
	for path, want := range map[string]struct {
		status, length int // status 0: an error
	}{
		"/verify": {http.StatusAccepted, len(`{"status":"ok"}`)},
		"/moved":  {http.StatusTemporaryRedirect, 0},
		"/full":   {http.StatusOK, maxCallAnswer},
		"/large":  {},
		"/broken": {},
	} {
		answer, err := caller.Call(t.Context(), question(path))
		if answer.Status != want.status || len(answer.Body) != want.length || (err != nil) != (want.status == 0) {
			t.Errorf("%s: %d with %d bytes, %v", path, answer.Status, len(answer.Body), err)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went where an answer led to", n)
	}
	if client.CheckRedirect != nil {
		t.Error("the client that was handed in has been changed")
	}
}

// TestCallerGivesUp: a provider that does not answer is waited for callTimeout.
func TestCallerGivesUp(t *testing.T) {
	registry := asked(t, "https://api.asked.example")
	synctest.Test(t, func(t *testing.T) {
		caller := NewCaller(registry, &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		started := time.Now()
		if _, err := caller.Call(t.Context(), question("/verify")); err == nil {
			t.Error("no answer is no error")
		}
		if took := time.Since(started); took != callTimeout {
			t.Errorf("asked for %v", took)
		}
		started = time.Now()
		if err := caller.Confirm(t.Context(), "https://sns.us-east-1.amazonaws.com/?Token=t0ken"); err == nil || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("confirming: %v", err)
		}
		if took := time.Since(started); took != callTimeout {
			t.Errorf("confirmed for %v", took)
		}
	})
}

// TestCallerIsBounded: no more than maxCallsAtOnce wait for a provider; the next
// one is told at once, and there is room again when they are done.
func TestCallerIsBounded(t *testing.T) {
	registry := asked(t, "https://api.asked.example")
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		caller := NewCaller(registry, &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-release
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
		})})
		var wait sync.WaitGroup
		for range maxCallsAtOnce {
			wait.Go(func() {
				if _, err := caller.Call(t.Context(), question("/verify")); err != nil {
					t.Errorf("one of those that fit: %v", err)
				}
			})
		}
		synctest.Wait()
		if _, err := caller.Call(t.Context(), question("/verify")); err == nil {
			t.Error("one more than fits was asked")
		}
		close(release)
		wait.Wait()
		if _, err := caller.Call(t.Context(), question("/verify")); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

// TestCallerConfirms: only 200 confirms, and no redirect is followed. An error
// does not show the address, whose token is a secret.
func TestCallerConfirms(t *testing.T) {
	var followed atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/followed", http.StatusFound)
		case r.URL.Path == "/followed":
			followed.Add(1)
		case r.URL.Path == "/gone":
			w.WriteHeader(http.StatusGone)
		}
	}))
	client := &http.Client{Transport: &http.Transport{}}
	caller := NewCaller(asked(t, "https://api.asked.example"), client)
	check := func(address string, ok bool) {
		t.Helper()
		err := caller.Confirm(t.Context(), address)
		if (err == nil) != ok || err != nil && (strings.Contains(err.Error(), "t0ken") || strings.Contains(err.Error(), "127.0.0.1")) {
			t.Errorf("%s: %v", address, err)
		}
	}
	check(server.URL+"/?Token=t0ken", true)
	check(server.URL+"/moved?Token=t0ken", false)
	check(server.URL+"/gone?Token=t0ken", false)
	check(server.URL+"/\x7f?Token=t0ken", false)
	client.CloseIdleConnections()
	server.Close()
	check(server.URL+"/?Token=t0ken", false)
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestConfirmsOnHostsOfThePackOnly sends genuine confirmations of SNS that lead
// to Amazon and elsewhere, to an ingress whose caller would reach anything.
func TestConfirmsOnHostsOfThePackOnly(t *testing.T) {
	called := make(chan string, 10)
	amazon := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		called <- r.Host
	}))
	defer amazon.Close()
	transport := amazon.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true // any name leads to the one server of this test
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, amazon.Listener.Addr().String())
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()

	var signer *providers.Signer
	g := open(t, func(c *Config) {
		pack, _ := c.Providers.Pack("aws-sns")
		signer = pack.Webhooks.NewSigner(nil, providers.NewSecret([]byte("a-seed")))
		registry, err := providers.NewRegistry(map[string]*providers.Pack{"aws-sns": pack}, map[string]providers.App{"aws-sns": {WebhookSecrets: signer.Secrets()}})
		if err != nil {
			t.Fatal(err)
		}
		c.Providers, c.Keys, c.Confirm = registry, signer, NewCaller(registry, client).Confirm
	})
	send := func(address string) int {
		t.Helper()
		d := &providers.Delivery{
			Method: http.MethodPost, ReceivedAt: time.Now(),
			Header: http.Header{"Content-Type": {"text/plain; charset=UTF-8"}},
			Body: fmt.Appendf(nil, `{"Type":"SubscriptionConfirmation","MessageId":"m-1","Token":"t","TopicArn":"arn:aws:sns:us-east-1:123456789012:orders",`+
				`"Message":"You have chosen to subscribe","SubscribeURL":%q,"Timestamp":"2026-02-03T12:00:00.001Z","SignatureVersion":"1","Signature":"-","SigningCertURL":"-"}`, address),
		}
		if err := signer.Sign(d, ""); err != nil {
			t.Fatal(err)
		}
		status, _ := g.send("aws-sns", d)
		return status
	}
	for _, address := range []string{
		"https://sns.us-east-1.amazonaws.com.evil.example/?Token=t",
		"https://sns.us-east-1.amazonaws.com@evil.example/?Token=t",
		"https://evil.example/sns.us-east-1.amazonaws.com",
		"http://sns.us-east-1.amazonaws.com/?Token=t",
		"https://127.0.0.1/?Token=t",
		"https://sns.us-east-1.amazonaws.com:8443/?Token=t",
	} {
		send(address)
	}
	if len(called) != 0 {
		t.Errorf("called %s", <-called)
	}
	if status := send("https://sns.us-east-1.amazonaws.com/?Token=t"); status != http.StatusOK || len(called) != 1 || <-called != "sns.us-east-1.amazonaws.com" {
		t.Errorf("answered %d; the address was not called, or not once", status)
	}
	if stored := g.stored(events.StreamEvents); len(stored) != 0 {
		t.Errorf("confirmations became events: %v", stored)
	}
}
