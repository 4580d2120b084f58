package auth

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// gossip is an authority that remembers every secret that passes it, and can be
// made to panic with one.
type gossip struct {
	authority
	panics bool

	mu      sync.Mutex
	secrets []providers.Secret
}

func (g *gossip) hear(all ...providers.Secret) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range all {
		if !s.IsZero() {
			g.secrets = append(g.secrets, s)
		}
	}
}

func (g *gossip) renew(ctx context.Context, in hand) (minted, error) {
	g.hear(in.AccessToken, in.RefreshToken, in.app.ClientSecret)
	if g.panics {
		panic("refresh token " + string(in.RefreshToken.Reveal()))
	}
	m, err := g.authority.renew(ctx, in)
	g.hear(m.AccessToken, m.RefreshToken)
	return m, err
}

// disguisesOf is disguises of a secret that may be short.
func disguisesOf(text string) []string {
	if len(text) < 24 {
		return []string{text}
	}
	return disguises(text)
}

// Through every way that a token goes, and every way to fail.
func TestNobodySeesARefreshedToken(t *testing.T) {
	s := newScene(t, oauthtest.Config{ReuseGrace: 100 * time.Hour})
	g := &gossip{authority: s.refresher.authority}
	s.refresher.authority = g
	s.refresher.spill.dir = t.TempDir()
	tap := &wiretap{}
	subscription, err := s.bus.Conn().Subscribe(">", tap.take)
	if err != nil {
		t.Fatal(err)
	}
	s.start(t, s.Service)
	client, err := NewClient(s.conn)
	if err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder // what is answered
	ask := func(seenVersion int) {
		got, err := client.get(t.Context(), tokenRequest{UserID: "u1", Provider: "strict", ConnectionID: s.c.ID, SeenVersion: seenVersion})
		fmt.Fprintf(&seen, "%v %+v %#v %v\n", got, got, got, err)
		g.hear(got.Token)
	}
	w := newWeb(t, &rig{Service: s.Service})
	call := func(method, path, body string) {
		got := w.do(t, method, path, body)
		fmt.Fprintln(&seen, got.status, got.header, got.body)
	}
	one := pathConnections + "/" + s.c.ID

	ask(0)
	s.clock.add(2 * time.Hour)
	ask(0)
	ask(2)
	call("GET", one, "")
	for _, fault := range []oauthtest.Fault{{Status: http.StatusBadGateway}, {Drop: true}, {Garbled: true}} {
		s.clock.add(2 * time.Hour)
		s.provider.Fail(fault)
		ask(0)
		call("GET", one, "")
	}
	s.provider.SetQuirks(oauthtest.Quirks{HTMLErrors: true}) // they quote what was sent
	good := s.store.app
	s.store.app = func(ctx context.Context, provider, user, id string) (providers.App, error) {
		app, err := good(ctx, provider, user, id)
		app.ClientSecret = secret("canary-client-s3cret")
		return app, err
	}
	s.clock.add(2 * time.Hour)
	ask(0)
	s.provider.SetQuirks(oauthtest.Quirks{}) // and JSON does, in the description
	s.clock.add(2 * time.Hour)
	ask(0)
	s.store.app = good
	g.panics = true
	s.clock.add(2 * time.Hour)
	ask(0)
	s.refresher.timing.lease = time.Second // of the one that panicked
	g.panics = false
	s.clock.add(2 * time.Hour)
	ask(0)
	call("POST", one+"/refresh", "")
	call("POST", one+"/test", "")
	call("PATCH", one, `{"name":"work","default":true}`)
	call("GET", pathConnections, "")
	call("GET", one+"/audit", "")

	b := s.breakAfter()
	s.clock.add(2 * time.Hour)
	waited := make(chan struct{})
	go func() { defer close(waited); ask(0) }()
	var files []string
	eventually(t, "the spilled credential", func() bool {
		files, _ = filepath.Glob(s.refresher.spill.dir + "/*" + spillSuffix) // counted before it is written
		return s.refresher.unkept.Load() == 1 && len(files) == 1
	})
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	s.refresher.crash = nil
	b.down.Store(false)
	<-waited
	s.provider.Fail(oauthtest.Fault{Status: http.StatusBadGateway})
	call("DELETE", one, "")
	if err := s.refresher.revoke(t.Context(), revokeJob(&s.c.Connection)); err != nil {
		t.Fatal(err)
	}
	call("POST", pathConnections, `{"user_id":"u2","provider":"strict","auth":"machine","fields":{"x":"canary-client-s3cret"}}`)

	if err := s.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	subscription.SetClosedHandler(func(string) { close(drained) })
	if err := subscription.Drain(); err != nil {
		t.Fatal(err)
	}
	<-drained
	places := map[string]string{"the bus": tap.String(), "the log": s.fleet.log.String(), "an answer": seen.String(), "the disk": string(text)}
	if len(g.secrets) < 20 {
		t.Errorf("only %d secrets were heard of: the test proves little", len(g.secrets))
	}
	for _, heard := range append(g.secrets, secret("at_half"), secret("canary-client-s3cret")) {
		for name, text := range places {
			for _, disguise := range disguisesOf(string(heard.Reveal())) {
				if i := strings.Index(text, disguise); i >= 0 {
					t.Errorf("a secret is on %s: …%s", name, text[max(i-200, 0):i+len(disguise)])
				}
			}
		}
	}
	for _, part := range []string{"$KV.PLUGFN_CONNECTIONS", "$KV.PLUGFN_REVOCATIONS", "plugfn.audit.", "plugfn.later.connection.", string(events.AppMisconfigured), string(events.RefreshUnreadable), string(events.Refreshed)} {
		if !strings.Contains(places["the bus"], part) {
			t.Errorf("the tap does not see %s: the test proves nothing", part)
		}
	}
	for _, part := range []string{"refresh panicked", "unreadable", "refuses the app", "spilled", "trying again"} {
		if !strings.Contains(places["the log"], part) {
			t.Errorf("the log does not tell of %q: the test proves nothing", part)
		}
	}
}
