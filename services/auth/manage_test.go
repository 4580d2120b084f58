package auth

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

func ptr[T any](v T) *T { return &v }

func TestTheDefaultIsMeantWhereNoneIsNamed(t *testing.T) {
	r := newRig(t)
	one, two := r.connect(t, "u1", "github", "t1"), r.connect(t, "u1", "github", "t2")
	_, err := r.credential(t.Context(), "u1", "github", "")
	wantCode(t, err, events.CodeConnectionAmbiguous)
	for _, c := range []events.Connection{two, one, two} {
		changed, err := r.store.amend(t.Context(), "u1", c.ID, amendment{Default: ptr(true)})
		if err != nil || !changed.Default {
			t.Fatalf("made the default: %+v, %v", changed, err)
		}
		if got, err := r.credential(t.Context(), "u1", "github", ""); err != nil || got.ConnectionID != c.ID {
			t.Errorf("meant: %s, %v, want %s", got.ConnectionID, err, c.ID)
		}
	}
	if c, err := r.store.get(t.Context(), "u1", one.ID); err != nil || c.Default {
		t.Errorf("two defaults: %+v, %v", c, err)
	}
	// A default that cannot be used does not make way for another account.
	r.change(t, two, func(r *record) { r.Status = events.ConnectionNeedsReauth })
	_, err = r.credential(t.Context(), "u1", "github", "")
	wantCode(t, err, events.CodeNeedsReauth)
	r.change(t, two, func(r *record) { r.Status = events.ConnectionActive })
	if _, err := r.store.amend(t.Context(), "u1", two.ID, amendment{Default: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	_, err = r.credential(t.Context(), "u1", "github", "")
	wantCode(t, err, events.CodeConnectionAmbiguous)
}

// Two that are marked, as after a crash in between: the latest counts, also
// where the index does not know.
func TestOfTwoDefaultsTheLatestIsMeant(t *testing.T) {
	r := newRig(t)
	one, two, three := r.connect(t, "u1", "github", "t1"), r.connect(t, "u1", "github", "t2"), r.connect(t, "u1", "github", "t3")
	now := time.Now()
	for c, since := range map[string]time.Time{one.ID: now, two.ID: now.Add(time.Minute), three.ID: now.Add(-time.Minute)} {
		_, err := r.store.edit(t.Context(), "u1", c, func(r *record) error {
			r.Default, r.DefaultSince = true, since
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	blind := *r.store
	blind.index = newIndex(blind.index.opens, blind.index.due)
	for name, s := range map[string]*store{"index": r.store, "bucket": &blind} {
		if k, err := s.resolve(t.Context(), "u1", "github", ""); err != nil || k.ID != two.ID {
			t.Errorf("%s: %s, %v", name, k.ID, err)
		}
	}
}

func TestAmend(t *testing.T) {
	r := newRig(t)
	c := r.connect(t, "u1", "github", "t")
	changed, err := r.store.amend(t.Context(), "u1", c.ID, amendment{Name: ptr("work")})
	if err != nil || changed.Name != "work" || changed.Version != 1 || changed.Default {
		t.Errorf("got %+v, %v", changed, err)
	}
	if _, err := r.store.amend(t.Context(), "", c.ID, amendment{Name: ptr("")}); err != nil {
		t.Errorf("a name is taken away: %v", err)
	}
	if n := (&fleet{bus: r.bus}).changes(t, events.Updated); n != 2 {
		t.Errorf("announced %d times", n)
	}
	_, err = r.store.amend(t.Context(), "u2", c.ID, amendment{Name: ptr("mine")})
	wantCode(t, err, events.CodeConnectionNotFound)
	_, err = r.store.amend(t.Context(), "u1", c.ID, amendment{})
	wantCode(t, err, events.CodeInvalidParams)
	_, err = r.store.amend(t.Context(), "u1", c.ID, amendment{Name: ptr("a\nb")})
	wantCode(t, err, events.CodeInvalidParams)
}

func TestListByStatus(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.start(t, s.Service)
	other := s.connect(t, "u2")
	k := s.record(t, other.Connection)
	if err := s.refresher.giveUp(t.Context(), &k, failure{Class: failDead}); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[events.ConnectionStatus][]string{
		"": {s.c.ID, other.ID}, events.ConnectionActive: {s.c.ID}, events.ConnectionNeedsReauth: {other.ID}, events.ConnectionError: {},
	} {
		items, next, err := s.store.list(t.Context(), query{status: status})
		if err != nil || next != "" {
			t.Fatal(err)
		}
		ids := []string{}
		for _, c := range items {
			ids = append(ids, c.ID)
			if (c.Error != nil) != (c.Status != events.ConnectionActive) {
				t.Errorf("%s has the error %v", c.Status, c.Error)
			}
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("status %q: %s", status, diff)
		}
	}
	_, _, err := s.store.list(t.Context(), query{status: "asleep"})
	wantCode(t, err, events.CodeInvalidParams)
	s.overwriteOne(t, other.Connection)
	eventually(t, "the unreadable one", func() bool {
		items, _, err := s.store.list(t.Context(), query{status: events.ConnectionError})
		return err == nil && len(items) == 1 && items[0].ID == other.ID
	})
}

// overwriteOne has the credential of c be one that does not open.
func (s *scene) overwriteOne(t *testing.T, c events.Connection) {
	t.Helper()
	k := s.record(t, c)
	k.Credential = []byte("x")
	value, err := k.encode()
	if err == nil {
		_, err = s.store.kv.Put(t.Context(), k.key, value)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTest(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	if got, err := s.test(t.Context(), "u1", s.c.ID); err != nil || got != (tested{Tested: true, Works: true, Status: events.ConnectionActive}) {
		t.Errorf("a good one: %+v, %v", got, err)
	}
	s.clock.add(2 * time.Hour) // it refreshes first
	if got, err := s.test(t.Context(), "", s.c.ID); err != nil || !got.Works || s.now(t).Version != 2 {
		t.Errorf("a stale one: %+v, %v", got, err)
	}
	s.forget(t)
	got, err := s.test(t.Context(), "u1", s.c.ID)
	if err != nil || got.Works || !got.Tested || got.Error == nil || got.Error.Code != events.CodeNeedsReauth {
		t.Errorf("a revoked one: %+v, %v", got, err)
	}
	_, err = s.test(t.Context(), "u2", s.c.ID)
	wantCode(t, err, events.CodeConnectionNotFound)
	if entries, err := s.store.history(t.Context(), "u1", s.c.ID); err != nil || entries[0].What != auditTested || entries[0].Actor != actorSelf {
		t.Errorf("audit: %+v, %v", entries, err)
	}
}

func TestTestOfAnAPIKey(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	c, err := s.create(t.Context(), newConnection{UserID: "u1", Provider: "strict", Auth: "token", Token: secret("at_none")})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.test(t.Context(), "u1", c.ID); err != nil || got != (tested{Status: events.ConnectionActive}) {
		t.Errorf("without a probe: %+v, %v", got, err)
	}
}

func TestACredentialThatWorksAgain(t *testing.T) {
	s := newScene(t, oauthtest.Config{Quirks: oauthtest.Quirks{ExpiresIn: oauthtest.ExpiresInMissing}})
	c := s.connectPlain(t, "u3")
	k := s.record(t, c.Connection)
	if k.Renewable || !k.ExpiresAt.IsZero() {
		t.Fatalf("it is to be like an API key: %+v", k.record)
	}
	if err := s.refresher.giveUp(t.Context(), &k, failure{Class: failDead}); err != nil {
		t.Fatal(err)
	}
	got, err := s.test(t.Context(), "u3", c.ID)
	if err != nil || !got.Works || got.Status != events.ConnectionActive || s.changes(t, events.Recovered) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// connectPlain keeps a token without a refresh token.
func (s *scene) connectPlain(t *testing.T, user string) connection {
	t.Helper()
	m := s.authorise(t)
	m.RefreshToken = secret("")
	c, err := s.store.connect(t.Context(), grantInput{UserID: user, Provider: "strict", Auth: "oauth", App: "client", Credential: m})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What an asker has seen refused is replaced only if it is still the newest.
func TestRefusedCredentials(t *testing.T) {
	s := newScene(t, oauthtest.Config{Quirks: oauthtest.Quirks{OldAccessDies: true}})
	s.clock.add(10 * time.Minute)
	k, _, err := s.ask(t, 1)
	if err != nil || k.Version != 2 {
		t.Fatalf("the first time: %d, %v", k.Version, err)
	}
	s.clock.add(10 * time.Minute)
	if k, _, err = s.ask(t, 1); err != nil || k.Version != 2 {
		t.Errorf("by somebody who is late: %d, %v", k.Version, err)
	}
	if l := s.provider.Ledger(); l.Refreshes != 1 {
		t.Errorf("%d refreshes", l.Refreshes)
	}
	if k, _, err = s.ask(t, 2); err != nil || k.Version != 3 {
		t.Errorf("by somebody who is not: %d, %v", k.Version, err)
	}
	// Brand-new, and refused: another one would be, too. It is looked into.
	_, _, err = s.ask(t, 3)
	wantCode(t, err, events.CodeNeedsReauth)
	s.refresher.flying.Wait()
	if k := s.now(t); k.Version != 3 || k.Status != events.ConnectionActive {
		t.Errorf("the provider says that it is good: %s", k.Status)
	}
	s.want(t, 3)
}

func TestRefusedWhereNothingCanBeRenewed(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	probed := s.connectPlain(t, "u3")
	key, err := s.create(t.Context(), newConnection{UserID: "u4", Provider: "strict", Auth: "token", Token: secret("at_none")})
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(user string) {
		_, _, err := s.handOut(t.Context(), &tokenRequest{UserID: user, Provider: "strict", SeenVersion: 1}, nil)
		wantCode(t, err, events.CodeNeedsReauth)
		s.refresher.flying.Wait()
	}
	refuse("u3")
	if k := s.record(t, probed.Connection); k.Status != events.ConnectionActive {
		t.Errorf("the probe says that it is good: %s", k.Status)
	}
	k := s.record(t, probed.Connection)
	in, err := s.store.hand(t.Context(), &k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.refresher.authority.revoke(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	refuse("u3")
	if k := s.record(t, probed.Connection); k.Status != events.ConnectionNeedsReauth {
		t.Errorf("the probe says that it is not: %s", k.Status)
	}
	refuse("u4") // nobody to ask: the refusal counts
	if k := s.record(t, key.Connection); k.Status != events.ConnectionNeedsReauth || k.Refresh.Failure.Code != codeRefused {
		t.Errorf("%s, %+v", k.Status, k.Refresh)
	}
	if s.changes(t, events.NeedsReauth) != 2 {
		t.Errorf("announced %d times", s.changes(t, events.NeedsReauth))
	}
}

func TestATokenThatExpiresForGood(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	c := s.connectPlain(t, "u3")
	s.clock.add(2 * time.Hour)
	_, _, err := s.handOut(t.Context(), &tokenRequest{UserID: "u3", Provider: "strict"}, nil)
	wantCode(t, err, events.CodeNeedsReauth)
	s.refresher.flying.Wait()
	if k := s.record(t, c.Connection); k.Status != events.ConnectionNeedsReauth || k.Refresh.Failure.Code != codeExpired {
		t.Errorf("%s, %+v", k.Status, k.Refresh)
	}
}

func TestMintedTokens(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	c, err := s.create(t.Context(), newConnection{UserID: "u5", Provider: "strict", Auth: "machine"})
	if err != nil || c.Status != events.ConnectionActive || c.ExpiresAt.IsZero() {
		t.Fatalf("made: %+v, %v", c, err)
	}
	if k := s.record(t, c.Connection); !k.Renewable || k.App != "client" {
		t.Errorf("kept as %+v", k.record)
	}
	s.clock.add(2 * time.Hour)
	k, _, err := s.handOut(t.Context(), &tokenRequest{UserID: "u5", Provider: "strict"}, nil)
	if err != nil || k.Version != 2 {
		t.Fatalf("version %d, %v", k.Version, err)
	}
	s.probe(t, &k)
	if l := s.provider.Ledger(); l.Minted != 2 {
		t.Errorf("%d minted", l.Minted)
	}
	// What does not work is not kept.
	s.provider.Fail(oauthtest.Fault{Status: http.StatusServiceUnavailable}, oauthtest.Fault{Garbled: true})
	_, err = s.create(t.Context(), newConnection{UserID: "u6", Provider: "strict", Auth: "machine"})
	wantCode(t, err, events.CodeProviderUnavailable)
	_, err = s.create(t.Context(), newConnection{UserID: "u6", Provider: "strict", Auth: "machine"})
	wantCode(t, err, events.CodeProviderRejected)
	_, err = s.store.resolve(t.Context(), "u6", "strict", "")
	wantCode(t, err, events.CodeConnectionNotFound)
}
