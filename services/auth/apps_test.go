package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
)

// withoutClient takes the app out of the settings, but not where it speaks to.
func withoutClient(t testing.TB) func(*Config) {
	return func(c *Config) {
		pack, _ := c.Providers.Pack("strict")
		app := c.Providers.App("strict")
		app.ClientID, app.ClientSecret = "", providers.Secret{}
		registry, err := providers.NewRegistry(map[string]*providers.Pack{"strict": pack}, map[string]providers.App{"strict": app})
		if err != nil {
			t.Fatal(err)
		}
		c.Providers = registry
	}
}

func (f *flowRig) setApp(t testing.TB, body string) appView {
	t.Helper()
	got := f.do(t, "PUT", pathApps+"/strict", body)
	if got.status != http.StatusOK {
		t.Fatalf("set: %d %s", got.status, got.body)
	}
	return parse[appView](t, got.body)
}

func (f *flowRig) appViews(t testing.TB, query string) []appView {
	t.Helper()
	got := f.do(t, "GET", pathApps+query, "")
	if got.status != http.StatusOK {
		t.Fatalf("list: %d %s", got.status, got.body)
	}
	return parse[struct{ Apps []appView }](t, got.body).Apps
}

func TestStoredApp(t *testing.T) {
	f := newFlowRig(t, flowOptions{config: withoutClient(t)})
	if all := f.appViews(t, ""); len(all) != 0 {
		t.Errorf("at first there are %+v", all)
	}
	set := f.setApp(t, `{"client_id":"client","client_secret":"client-s3cret"}`)
	want := appView{Provider: "strict", ClientID: "client", HasClientSecret: true, Source: fromStore, InUse: true, RedirectURI: f.URL + "/oauth/callback/strict"}
	if diff := cmp.Diff(want, set, cmpopts.IgnoreFields(appView{}, "UpdatedAt")); diff != "" || set.UpdatedAt.IsZero() {
		t.Error(diff)
	}
	if diff := cmp.Diff([]appView{set}, f.appViews(t, "?provider=strict")); diff != "" {
		t.Error(diff)
	}
	// It connects, and the connection knows by whom.
	id := f.connected(t, "")
	entry, err := f.store.find(t.Context(), "u1", id)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := decodeRecord(entry.Key(), entry.Value()); err != nil || r.App != "client" {
		t.Errorf("minted by %q, %v", r.App, err)
	}
	// A newer client is for new connections, and its id for nobody else's.
	f.setApp(t, `{"client_id":"newer","client_secret":"other"}`)
	if app, err := f.flows.apps.pick(t.Context(), "strict", "u1"); err != nil || app.ClientID != "newer" {
		t.Errorf("picked %s, %v", app.ClientID, err)
	}
	app, err := f.flows.apps.minted(t.Context(), "strict", "u1", "client")
	if err != nil || app.ClientID != "client" || !app.ClientSecret.Equal(secret("client-s3cret")) || app.AuthBaseURL != f.as.URL {
		t.Errorf("the one that minted: %s, %v", app.ClientID, err)
	}
	if got := f.do(t, "POST", pathConnections+"/"+id+"/refresh", ""); got.status >= 300 {
		t.Errorf("refresh: %d %s", got.status, got.body)
	}
	// It cannot be deleted by accident.
	if got := f.do(t, "DELETE", pathApps+"/strict?client_id=client", ""); got.status != http.StatusConflict || !strings.Contains(got.body, "force") {
		t.Errorf("delete: %d %s", got.status, got.body)
	}
	if got := f.do(t, "DELETE", pathApps+"/strict?client_id=client&force=true", ""); got.status != http.StatusNoContent {
		t.Errorf("delete with force: %d %s", got.status, got.body)
	}
	if app, err := f.flows.apps.minted(t.Context(), "strict", "u1", "client"); err != nil || app.ClientID != "" {
		t.Errorf("a deleted one: %s, %v", app.ClientID, err)
	}
	if got := f.do(t, "DELETE", pathApps+"/strict?client_id=client&force=true", ""); got.status != http.StatusNotFound {
		t.Errorf("delete again: %d %s", got.status, got.body)
	}
	f.setApp(t, `{"client_id":"client"}`) // over the mark of a deleted one, and without its secret
	if app, err := f.flows.apps.minted(t.Context(), "strict", "u1", "client"); err != nil || app.ClientID != "client" || !app.ClientSecret.IsZero() {
		t.Errorf("set again: %+v, %v", app, err)
	}
}

func TestSecretOfAnAppStays(t *testing.T) {
	f := newFlowRig(t, flowOptions{config: withoutClient(t)})
	const canary = "s3cret-canary-5d1e"
	f.setApp(t, `{"client_id":"client","client_secret":"`+canary+`"}`)
	if again := f.setApp(t, `{"client_id":"client"}`); !again.HasClientSecret {
		t.Error("the secret is gone")
	}
	if app, err := f.flows.apps.pick(t.Context(), "strict", ""); err != nil || !app.ClientSecret.Equal(secret(canary)) {
		t.Errorf("picked %s, %v", app.ClientID, err)
	}
	for _, path := range []string{pathApps, pathApps + "?provider=strict"} {
		if got := f.do(t, "GET", path, ""); strings.Contains(got.body, canary) {
			t.Errorf("shown: %s", got.body)
		}
	}
	for name, text := range map[string]string{"store": f.dump(t, bus.BucketApps), "log": f.log.String()} {
		if strings.Contains(text, canary) || !strings.Contains(text, "client") {
			t.Errorf("the secret is in the %s, or nothing is: %s", name, text)
		}
	}
	// Copied to another client's place it does not open.
	value := []byte(strings.ReplaceAll(f.dumpValue(t, bus.BucketApps), `"client_id":"client"`, `"client_id":"thief"`))
	if _, err := bucket(t, f.bus, bus.BucketApps).Create(t.Context(), appKey("strict", "", "thief"), value); err != nil {
		t.Fatal(err)
	}
	if app, err := f.flows.apps.minted(t.Context(), "strict", "", "thief"); err == nil {
		t.Errorf("opened as %s", app.ClientID)
	}
}

// dumpValue is the only value of a bucket.
func (f *flowRig) dumpValue(t testing.TB, name string) string {
	t.Helper()
	_, value, _ := strings.Cut(strings.TrimSpace(f.dump(t, name)), " ")
	return value
}

func TestAppsOfUsersAndSettings(t *testing.T) {
	f := newFlowRig(t, flowOptions{}) // the settings have "client"
	if set := f.setApp(t, `{"client_id":"stored","client_secret":"x"}`); set.InUse {
		t.Error("the settings do not come first")
	}
	f.setApp(t, `{"client_id":"own","client_secret":"x","user_id":"u2"}`)
	for user, want := range map[string]string{"u1": "client", "u2": "own", "": "client"} {
		if app, err := f.flows.apps.pick(t.Context(), "strict", user); err != nil || app.ClientID != want {
			t.Errorf("user %q gets %s, %v, want %s", user, app.ClientID, err, want)
		}
	}
	// A client of one user mints for nobody else.
	for user, want := range map[string]string{"u1": "", "u2": "own"} {
		if app, err := f.flows.apps.minted(t.Context(), "strict", user, "own"); err != nil || app.ClientID != want {
			t.Errorf("user %q: %s, %v, want %q", user, app.ClientID, err, want)
		}
	}
	got := map[string]bool{}
	for _, a := range f.appViews(t, "") {
		got[a.ClientID+"/"+a.UserID+"/"+a.Source] = a.InUse
	}
	if diff := cmp.Diff(map[string]bool{"client//environment": true, "stored//store": false, "own/u2/store": true}, got); diff != "" {
		t.Error(diff)
	}
	if all := f.appViews(t, "?user_id=u1"); len(all) != 2 {
		t.Errorf("those for u1: %+v", all)
	}
	if got := f.do(t, "DELETE", pathApps+"/strict?client_id=own", ""); got.status != http.StatusNotFound {
		t.Errorf("deleted as everybody's: %d", got.status)
	}
	if got := f.do(t, "DELETE", pathApps+"/strict?client_id=own&user_id=u2", ""); got.status != http.StatusNoContent {
		t.Errorf("deleted: %d %s", got.status, got.body)
	}
}

func TestSetAppRefuses(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	for name, tt := range map[string]struct {
		path, body string
		status     int
		want       string
	}{
		"unknown provider":      {"/strct", `{"client_id":"c"}`, 404, "did you mean strict?"},
		"no client id":          {"/strict", `{"client_secret":"canary-1"}`, 422, "client_id"},
		"empty client id":       {"/strict", `{"client_id":"","client_secret":"canary-1"}`, 422, "client_id"},
		"client id with spaces": {"/strict", `{"client_id":"a b"}`, 422, "client_id: must be printable"},
		"long client id":        {"/strict", `{"client_id":"` + strings.Repeat("x", 257) + `"}`, 422, "client_id: must be from 1"},
		"secret with a break":   {"/strict", `{"client_id":"c","client_secret":"canary-1\n"}`, 422, "client_secret: must be"},
		"long secret":           {"/strict", `{"client_id":"c","client_secret":"` + strings.Repeat("canary-1", 2000) + `"}`, 422, "client_secret: longer"},
		"key that is none":      {"/strict", `{"client_id":"c","private_key":"canary-1"}`, 422, "private_key: must be"},
		"certificate as key":    {"/strict", `{"client_id":"c","private_key":"-----BEGIN CERTIFICATE-----\nY2FuYXJ5LTE=\n-----END CERTIFICATE-----"}`, 422, "private_key: its PEM"},
		"user with a break":     {"/strict", `{"client_id":"c","user_id":"a\n"}`, 422, "user_id"},
		"unknown member":        {"/strict", `{"client_id":"c","webhook":"canary-1"}`, 422, "webhook: unexpected"},
	} {
		got := f.do(t, "PUT", pathApps+tt.path, tt.body)
		if got.status != tt.status || !strings.Contains(got.problem(t).Detail, tt.want) || strings.Contains(got.body, "canary") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if kept := f.dump(t, bus.BucketApps); kept != "" {
		t.Errorf("kept %s", kept)
	}
	if got := f.do(t, "GET", pathApps+"?provider=strct", ""); got.status != http.StatusNotFound {
		t.Errorf("list: %d", got.status)
	}
	w := &web{Server: f.Server, key: "Bearer wrong"}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if got := w.do(t, method, pathApps+"/strict", `{"client_id":"c"}`); got.status != http.StatusUnauthorized {
			t.Errorf("%s without the key: %d", method, got.status)
		}
	}
}

func TestPrivateKeyOfAnApp(t *testing.T) {
	f := newFlowRig(t, flowOptions{config: withoutClient(t)})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range []*pem.Block{{Type: "EC PRIVATE KEY", Bytes: sec1}, {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		text := string(pem.EncodeToMemory(block))
		body, err := json.Marshal(map[string]string{"client_id": "c", "private_key": text})
		if err != nil {
			t.Fatal(err)
		}
		if set := f.setApp(t, string(body)); !set.HasPrivateKey || set.HasClientSecret {
			t.Errorf("set %+v", set)
		}
		if app, err := f.flows.apps.pick(t.Context(), "strict", ""); err != nil || !app.PrivateKey.Equal(secret(text)) {
			t.Errorf("the key does not come back: %v", err)
		}
	}
}

// TestAppsAreSetAtOnce sets one client many times at once: none of the settings
// is lost.
func TestAppsAreSetAtOnce(t *testing.T) {
	f := newFlowRig(t, flowOptions{config: withoutClient(t)})
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			if _, err := f.flows.apps.set(t.Context(), appInput{Provider: "strict", ClientID: "c", ClientSecret: secret("s")}); err != nil {
				t.Error(err)
			}
		})
		wait.Go(func() {
			if _, err := f.flows.apps.set(t.Context(), appInput{Provider: "strict", ClientID: "c"}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if app, err := f.flows.apps.pick(t.Context(), "strict", ""); err != nil || !app.ClientSecret.Equal(secret("s")) {
		t.Errorf("%+v, %v", app, err)
	}
}

// TestSealedValues: whatever is encrypted beside the connections is found when
// the keys change.
func TestSealedValues(t *testing.T) {
	f := newFlowRig(t, flowOptions{config: withoutClient(t)})
	f.setApp(t, `{"client_id":"client","client_secret":"client-s3cret"}`)
	begun, d := f.begin(t, ""), f.beginDevice(t, "")
	f.session(t, "")
	for key, tt := range map[string]struct {
		bucket string
		values func(string, []byte) ([]sealedValue, error)
		want   int
	}{
		appKey("strict", "", "client"): {bus.BucketApps, appValues, 1},
		flowKey(begun.ID):              {bus.BucketStates, flowValues, 1},
		flowKey(d.ID):                  {bus.BucketStates, flowValues, 1},
	} {
		entry, err := bucket(t, f.bus, tt.bucket).Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		values, err := tt.values(key, entry.Value())
		if err != nil || len(values) != tt.want {
			t.Fatalf("%s: %d values, %v", key, len(values), err)
		}
		for _, v := range values {
			if _, err := f.cfg.Keys.openAt(v.text, v.place); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
		if _, err := tt.values(key, []byte("{}")); err == nil {
			t.Errorf("%s: a damaged one is not noticed", key)
		}
	}
	found, err := f.cfg.Keys.count(t.Context())
	if err != nil || found.unreadable != 0 {
		t.Errorf("count: %+v, %v", found, err)
	}
	total := 0
	for _, n := range found.under {
		total += n
	}
	if total != 3 {
		t.Errorf("%d values are counted", total)
	}
}

func FuzzDecodeApp(f *testing.F) {
	for _, seed := range []string{`{"provider":"p","client_id":"c"}`, "", "{}", "null", `{"client_id":"*"}`} {
		f.Add("p", "u", "c", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, provider, user, client string, value []byte) {
		key := appKey(provider, user, client)
		if strings.ContainsAny(key, "*> \t\r\n") || strings.Count(key, ".") != 3 {
			t.Errorf("key %q", key)
		}
		if one, err := decodeApp(key, value); err == nil && appKey(one.Provider, one.UserID, one.ClientID) != key {
			t.Errorf("%s is %+v", key, one)
		}
	})
}
