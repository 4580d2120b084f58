package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// session makes a link for user u1.
func (f *flowRig) session(t testing.TB, more string) string {
	t.Helper()
	got := f.do(t, "POST", pathSessions, `{"user_id":"u1","providers":["strict"]`+more+`}`)
	if got.status != http.StatusCreated {
		t.Fatalf("session: %d %s", got.status, got.body)
	}
	link := parse[struct{ URL string }](t, got.body).URL
	if !strings.HasPrefix(link, f.URL+pathConnect) {
		t.Fatalf("the link is %s", link)
	}
	return link
}

// hiddenValue is the value of an input of a page.
func hiddenValue(t testing.TB, body, name string) string {
	t.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(body)
	if found == nil {
		t.Fatalf("no input %s in %s", name, body)
	}
	return html.UnescapeString(found[1])
}

// press opens the page of a session and presses the button of the provider.
func (f *flowRig) press(t testing.TB, browser *http.Client, link string) answer {
	t.Helper()
	page := f.surf(t, browser, http.MethodGet, link, nil)
	if page.status != http.StatusOK {
		t.Fatalf("page: %d %s", page.status, page.body)
	}
	form := url.Values{"csrf": {hiddenValue(t, page.body, "csrf")}, "auth": {hiddenValue(t, page.body, "auth")}}
	return f.surf(t, browser, http.MethodPost, link+"/strict", form, "Sec-Fetch-Site", "same-origin")
}

func TestSessionConnects(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	link := f.session(t, "")
	if kept := f.dump(t, bus.BucketStates); strings.Contains(kept, link[len(f.URL+pathConnect):]) {
		t.Errorf("the session is kept in the clear: %s", kept)
	}
	browser := f.browser(t)
	sent := f.press(t, browser, link)
	if sent.status != http.StatusSeeOther || !strings.HasPrefix(sent.header.Get("Location"), f.as.URL+"/authorize?") || sent.header.Get("Referrer-Policy") != "no-referrer" {
		t.Fatalf("sent %d %v", sent.status, sent.header)
	}
	back := f.allow(t, sent.header.Get("Location"))
	// Another browser cannot finish it, and spoils nothing.
	if got := f.visit(t, back); got.status != http.StatusForbidden || !strings.Contains(got.body, "Not this browser") {
		t.Errorf("another browser: %d %s", got.status, got.body)
	}
	other := f.browser(t)
	f.surf(t, other, http.MethodGet, link, nil)
	if got := f.surf(t, other, http.MethodGet, back, nil); got.status != http.StatusForbidden {
		t.Errorf("another browser with a cookie of its own: %d", got.status)
	}
	if got := f.surf(t, browser, http.MethodGet, back, nil); got.status != http.StatusOK || !strings.Contains(got.body, "Strict is connected") {
		t.Errorf("callback: %d %s", got.status, got.body)
	}
	if all := f.connections(t); len(all) != 1 || all[0].UserID != "u1" {
		t.Errorf("connected %+v", all)
	}
}

// TestSessionInOneGo is what a browser without JavaScript does: follow, submit,
// follow.
func TestSessionInOneGo(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	link := f.session(t, `,"return_to":"https://app.example/settings/done"`)
	end, err := oauthtest.Browse(t.Context(), link, "https://app.example/", map[string]string{"decision": "allow"})
	if err != nil {
		t.Fatal(err)
	}
	if end.Path != "/settings/done" || end.Query().Get("plugfn_status") != "connected" || len(f.connections(t)) != 1 {
		t.Errorf("ended at %s", end)
	}
}

func TestSessionExpires(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	link := f.session(t, `,"expires_in":60`)
	browser := f.browser(t)
	page := f.surf(t, browser, http.MethodGet, link, nil)
	f.now.Store(60)
	for _, path := range []string{"", "/strict", "/strict?auth=token"} {
		if got := f.surf(t, browser, http.MethodGet, link+path, nil); got.status != http.StatusGone || !strings.Contains(got.body, "no longer good") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	form := url.Values{"csrf": {hiddenValue(t, page.body, "csrf")}, "auth": {"oauth"}}
	if got := f.surf(t, browser, http.MethodPost, link+"/strict", form); got.status != http.StatusGone {
		t.Errorf("button: %d %s", got.status, got.body)
	}
	for _, token := range []string{"x", strings.Repeat("A", 43), strings.Repeat("A", 4000), "%2e%2e", "<script>"} {
		if got := f.visit(t, f.URL+pathConnect+url.PathEscape(token)); got.status != http.StatusGone || strings.Contains(got.body, "<script>") {
			t.Errorf("session %.20s: %d", token, got.status)
		}
	}
}

func TestFormsOfOthersAreRefused(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	link, second := f.session(t, ""), f.session(t, "")
	browser := f.browser(t)
	csrf := hiddenValue(t, f.surf(t, browser, http.MethodGet, link, nil).body, "csrf")
	otherCSRF := hiddenValue(t, f.surf(t, browser, http.MethodGet, second, nil).body, "csrf")
	good := url.Values{"csrf": {csrf}, "auth": {"oauth"}}
	tests := []struct {
		name    string
		browser *http.Client
		form    url.Values
		headers []string
		status  int
	}{
		{"no token", browser, url.Values{"auth": {"oauth"}}, nil, 403},
		{"empty token", browser, url.Values{"csrf": {""}, "auth": {"oauth"}}, nil, 403},
		{"token of another session", browser, url.Values{"csrf": {otherCSRF}, "auth": {"oauth"}}, nil, 403},
		{"no cookie", f.browser(t), good, nil, 403},
		{"from another site", browser, good, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"from a sister site", browser, good, []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"as JSON", browser, good, []string{"Content-Type", "application/json"}, 403},
		{"token in the query only", browser, url.Values{"auth": {"oauth"}}, []string{"X-Query", good.Encode()}, 403},
		{"longer than any form", browser, url.Values{"csrf": {csrf}, "auth": {"oauth"}, "x": {strings.Repeat("x", maxForm)}}, nil, 403},
		{"unknown auth", browser, url.Values{"csrf": {csrf}, "auth": {"<script>"}}, nil, 400},
		{"good", browser, good, nil, 303},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := link + "/strict"
			for i := 0; i+1 < len(tt.headers); i += 2 {
				if tt.headers[i] == "X-Query" {
					target += "?" + tt.headers[i+1]
				}
			}
			if got := f.surf(t, tt.browser, http.MethodPost, target, tt.form, tt.headers...); got.status != tt.status || strings.Contains(got.body, "<script>") {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
	if got := f.surf(t, browser, http.MethodPost, link+"/bare", good); got.status != http.StatusBadRequest {
		t.Errorf("a provider that is not in the session: %d %s", got.status, got.body)
	}
	if got := f.surf(t, browser, http.MethodDelete, link+"/strict", nil); got.status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", got.status)
	}
}

func TestCookie(t *testing.T) {
	for name, tt := range map[string]struct {
		https, secure bool
		cookie        string
	}{
		"https":         {true, true, "__Host-plugfn"},
		"this computer": {false, false, "plugfn_local"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlowRig(t, flowOptions{https: tt.https})
			link := f.session(t, "")
			browser := f.browser(t)
			page := f.surf(t, browser, http.MethodGet, link, nil)
			cookies := (&http.Response{Header: page.header}).Cookies()
			if len(cookies) != 1 {
				t.Fatalf("cookies %v", cookies)
			}
			c := cookies[0]
			if c.Name != tt.cookie || !c.HttpOnly || c.Secure != tt.secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || !isDigest(c.Value) {
				t.Errorf("cookie %+v", c)
			}
			again := f.surf(t, browser, http.MethodGet, f.session(t, ""), nil)
			if renewed := (&http.Response{Header: again.header}).Cookies(); len(renewed) != 1 || renewed[0].Value != c.Value {
				t.Errorf("a second session takes the cookie of the first away: %v", renewed)
			}
			sent := f.press(t, browser, link)
			if got := f.surf(t, browser, http.MethodGet, f.allow(t, sent.header.Get("Location")), nil); got.status != http.StatusOK {
				t.Errorf("callback: %d %s", got.status, got.body)
			}
		})
	}
}

var (
	outside = regexp.MustCompile(`(?i)(src|srcset|href|action|poster|data)\s*=\s*["']?\s*(https?:|//)|@import|url\(|<script|<iframe|<object|<img|\son[a-z]+\s*=`)
	style   = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
)

// checkPage makes sure of what holds for every page.
func checkPage(t *testing.T, got answer) {
	t.Helper()
	h := got.header
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Content-Type": "text/html; charset=utf-8",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	found := style.FindStringSubmatch(got.body)
	if found == nil {
		t.Fatalf("no style in %s", got.body)
	}
	sum := sha256.Sum256([]byte(found[1]))
	policy := h.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %s lacks %s", policy, part)
		}
	}
	if bad := outside.FindString(got.body); bad != "" {
		t.Errorf("the page holds %s: %s", bad, got.body)
	}
	for _, part := range []string{`<html lang="en">`, "<title>", "<h1>", `name="viewport"`, "prefers-color-scheme: dark"} {
		if !strings.Contains(got.body, part) {
			t.Errorf("the page has no %s", part)
		}
	}
}

func TestPages(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: []string{"display: {name: Strict}", `display: {name: "<b>Strict & Co"}`}})
	link := f.session(t, "")
	pages := map[string]answer{
		"session":  f.visit(t, link),
		"form":     f.visit(t, link+"/strict?auth=token"),
		"unknown":  f.visit(t, f.URL+pathConnect+strings.Repeat("A", 43)),
		"bad form": f.visit(t, link+"/strict?auth=%3Cscript%3E"),
		"bad link": f.visit(t, f.URL+pathCallback+"strict?state=%3Cscript%3E&code=%3Cscript%3E"),
		"stale":    f.visit(t, f.URL+pathCallback+"%3Cscript%3E?state="+strings.Repeat("A", 43)),
		"done":     f.visit(t, f.allow(t, f.begin(t, "").ConnectURL)),
	}
	for name, got := range pages {
		t.Run(name, func(t *testing.T) {
			checkPage(t, got)
			if strings.Contains(got.body, "<b>Strict") {
				t.Errorf("not escaped: %s", got.body)
			}
			if own := strings.Contains(got.header.Get("Content-Security-Policy"), "form-action 'self'"); own == (name == "session") {
				t.Errorf("form-action 'self': %v", own)
			}
		})
	}
	if page := pages["session"].body; !strings.Contains(page, "Continue with &lt;b&gt;Strict &amp; Co") || !strings.Contains(page, "Connect with API key") || strings.Contains(page, "machine") {
		t.Errorf("session: %s", page)
	}
}

// TestPageCannotBreakOut puts markup wherever a page takes text from outside.
func TestPageCannotBreakOut(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	evil := `"><script>alert(1)</script><a href="javascript:x`
	err := events.Errorf(events.CodeInvalidParams, "%s", evil)
	for _, attempt := range []*flow{
		{Provider: evil, Status: flowConnected, Missing: []string{evil}},
		{Provider: evil, Status: flowFailed, Outcome: err},
		{Provider: evil, Status: flowFailed, Outcome: &events.Error{Code: events.CodeInternal, RequestID: evil}},
	} {
		w := httptest.NewRecorder()
		f.flows.pages.write(w, f.flows.endPage(attempt, "javascript:alert(1)"))
		got := answer{w.Code, w.Header(), w.Body.String()}
		checkPage(t, got)
		if strings.Contains(got.body, "<script") || strings.Contains(got.body, "<a href=\"javascript") || strings.Contains(got.body, `href="javascript:`) {
			t.Errorf("got %s", got.body)
		}
	}
}

func TestFormConnects(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: []string{
		"    type: api_key\n", "    type: api_key\n    hint: Look <here>\n    identity: {request: {method: GET, path: /me}, account: json:/id}\n    fields: [{name: token, label: API key, help: It begins with at_}, {name: site, label: Site, public: true}]\n",
	}})
	// A token of the provider, which its API takes.
	f.connected(t, `,"login_hint":"mona"`)
	cred, err := f.credential(t.Context(), "u1", "strict", "")
	if err != nil {
		t.Fatal(err)
	}
	token := string(cred.Token.Reveal())
	link := f.session(t, `,"return_to":"https://app.example/settings"`)
	browser := f.browser(t)
	page := f.surf(t, browser, http.MethodGet, link+"/strict?auth=token", nil)
	for _, part := range []string{`<label for="field_token">API key</label>`, `type="password"`, "It begins with at_", `aria-describedby="field_token-help"`, `type="text"`, "Look &lt;here&gt;"} {
		if !strings.Contains(page.body, part) {
			t.Errorf("the form has no %s: %s", part, page.body)
		}
	}
	csrf := hiddenValue(t, page.body, "csrf")
	post := func(token, site string) answer {
		return f.surf(t, browser, http.MethodPost, link+"/strict", url.Values{"csrf": {csrf}, "auth": {"token"}, "field_token": {token}, "field_site": {site}})
	}
	for _, tt := range []struct{ name, token, site, want string }{
		{"refused by the provider", "at_canary_9b1f", `<script>x</script>`, "Strict refuses this"},
		{"empty", "", "s", "token: must not be empty"},
		{"with a line break", "at_canary\n9b1f", "s", "token: must be"},
		{"without the other field", token, "", "site"},
	} {
		got := post(tt.token, tt.site)
		if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, tt.want) || !strings.Contains(got.body, `role="alert"`) {
			t.Errorf("%s: %d %s", tt.name, got.status, got.body)
		}
		checkPage(t, got)
		if strings.Contains(got.body, "at_") && strings.Contains(got.body, "canary") || strings.Contains(got.body, "<script") || strings.Contains(got.body, token) {
			t.Errorf("%s: shows what was entered: %s", tt.name, got.body)
		}
	}
	if n := len(f.connections(t)); n != 1 {
		t.Errorf("%d connections", n)
	}
	got := post(" "+token+" ", "s1")
	if got.status != http.StatusOK || !strings.Contains(got.body, "Strict is connected") {
		t.Fatalf("good: %d %s", got.status, got.body)
	}
	var made *events.Connection
	for _, c := range f.connections(t) {
		if c.Auth == "token" {
			made = &c
		}
	}
	if made == nil || made.Account != "mona" || made.UserID != "u1" {
		t.Fatalf("connected %+v", made)
	}
	next := "https://app.example/settings?plugfn_connection=" + made.ID + "&plugfn_provider=strict&plugfn_status=connected"
	if got.header.Get("Refresh") != "1; url="+next || !strings.Contains(got.body, `href="`+html.EscapeString(next)+`"`) {
		t.Errorf("goes on to %q: %s", got.header.Get("Refresh"), got.body)
	}
	got2, err := f.credential(t.Context(), "u1", "strict", made.ID)
	if site, _ := got2.Field("site"); err != nil || !got2.Token.Equal(secret(token)) || !site.Equal(secret("s1")) {
		t.Errorf("kept %v", err)
	}
	for name, text := range map[string]string{"log": f.log.String(), "store": f.dump(t, events.BucketConnections), "states": f.dump(t, bus.BucketStates)} {
		if strings.Contains(text, token) || strings.Contains(text, "canary_9b1f") {
			t.Errorf("a token is in the %s", name)
		}
	}
}

func TestFormForAKeyWithLines(t *testing.T) {
	auth := &providers.Auth{ID: "svc", Type: providers.AuthJWT, Fields: []providers.AuthField{{Name: "key", Label: "Key"}, {Name: "mail", Label: "Mail", Public: true}}}
	pack := oauthtest.Pack(t, "  - id: token\n    type: api_key\n    apply: {header: Authorization, value: \"Bearer {{credential.token}}\"}\n",
		"  - id: svc\n    type: jwt\n    fields: [{name: key, label: Key}, {name: mail, label: Mail, public: true}]\n    jwt: {algorithm: RS256, key: \"{{credential.key}}\", claims: {iss: \"{{credential.mail}}\"}}\n")
	auth, _ = pack.AuthByID(auth.ID)
	f := newFlowRig(t, flowOptions{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	f.flows.pages.write(w, f.flows.form(r, &session{}, pack, auth, "", nil))
	if body := w.Body.String(); !strings.Contains(body, `<textarea id="field_key"`) || !strings.Contains(body, `<input id="field_mail"`) {
		t.Errorf("form: %s", body)
	}
}

// TestNobodyEntersWhatIsNoSecret: whoever could connect by the number of an
// installation would get those of other customers.
func TestNobodyEntersWhatIsNoSecret(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: []string{"    type: api_key\n    apply: {header: Authorization, value: \"Bearer {{credential.token}}\"}\n", "    type: github_app\n"}})
	link := f.session(t, "")
	if page := f.visit(t, link); !strings.Contains(page.body, "Continue with Strict") || strings.Contains(page.body, "auth=") {
		t.Errorf("session: %s", page.body)
	}
	for _, auth := range []string{"token", "machine"} {
		if got := f.visit(t, link+"/strict?auth="+auth); got.status != http.StatusBadRequest {
			t.Errorf("form of %s: %d %s", auth, got.status, got.body)
		}
		browser := f.browser(t)
		csrf := hiddenValue(t, f.surf(t, browser, http.MethodGet, link, nil).body, "csrf")
		got := f.surf(t, browser, http.MethodPost, link+"/strict", url.Values{"csrf": {csrf}, "auth": {auth}, "field_installation_id": {"1"}})
		if got.status != http.StatusBadRequest {
			t.Errorf("posted to %s: %d %s", auth, got.status, got.body)
		}
	}
}

func TestSessionNeedsAnApp(t *testing.T) {
	f := newFlowRig(t, flowOptions{config: func(c *Config) {
		pack, _ := c.Providers.Pack("strict")
		bare, err := providers.NewRegistry(map[string]*providers.Pack{"strict": pack}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Providers = bare
	}})
	if got := f.do(t, "POST", pathStart, `{"user_id":"u1","provider":"strict"}`); got.status != 422 || !strings.Contains(got.body, "plugfn app set strict") {
		t.Errorf("start: %d %s", got.status, got.body)
	}
	// The token can be entered all the same.
	if page := f.visit(t, f.session(t, "")); strings.Contains(page.body, "Continue with") || !strings.Contains(page.body, "Connect with API key") {
		t.Errorf("session: %s", page.body)
	}
}

// TestStateOfAnotherUserIsNotOpened moves a sealed verifier to another attempt.
func TestStateOfAnotherUserIsNotOpened(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	begun := f.begin(t, "")
	back := f.allow(t, begun.ConnectURL)
	attempt, revision, err := f.flows.states.flow(t.Context(), begun.ID)
	if err != nil {
		t.Fatal(err)
	}
	attempt.UserID = "u2"
	if _, err := f.flows.states.put(t.Context(), attempt, revision); err != nil {
		t.Fatal(err)
	}
	if got := f.visit(t, back); got.status != http.StatusInternalServerError || len(f.connections(t)) > 0 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if out := f.outcome(t, begun.ID); out.Error == nil || out.Error.Code != events.CodeInternal || !strings.Contains(f.log.String(), out.Error.RequestID) {
		t.Errorf("got %+v", out.Error)
	}
}

func FuzzDecodeFlow(f *testing.F) {
	token, id := newToken()
	good, err := json.Marshal(flow{ID: browserFlow + id, UserID: "u", Provider: "p", ExpiresAt: time.Now(), Status: flowPending})
	if err != nil || !isDigest(token) {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "{}", "null", "[]", `{"id":"` + browserFlow + id + `"}`, `{"status":"failed"}`, `{"device":{}}`} {
		f.Add(browserFlow+id, []byte(seed))
		f.Add(deviceFlow+id, []byte(seed))
		f.Add("", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		got, err := decodeFlow(id, value)
		if err != nil {
			return
		}
		if got.ID != id || !isFlowID(id) || got.UserID == "" || got.Status == flowFailed && got.Outcome == nil {
			t.Errorf("%s is %+v", id, got)
		}
		if !got.over() && strings.HasPrefix(id, deviceFlow) != (got.Device != nil) {
			t.Errorf("%s is of the other kind", id)
		}
		if strings.ContainsAny(flowKey(id), "*> \t\n") {
			t.Errorf("key %q", flowKey(id))
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxState {
			return
		}
		if _, err := decodeFlow(id, again); err != nil {
			t.Errorf("%s does not come back: %v", again, err)
		}
	})
}

func FuzzDecodeSession(f *testing.F) {
	_, id := newToken()
	for _, seed := range []string{`{"id":"` + id + `","user_id":"u","providers":["p"],"expires_at":"2026-01-01T00:00:00Z"}`, "", "{}", "null", `{"id":"x"}`} {
		f.Add(id, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		got, err := decodeSession(id, value)
		if err == nil && (got.ID != id || got.UserID == "" || len(got.Providers) == 0 || got.ExpiresAt.IsZero()) {
			t.Errorf("%s is %+v", id, got)
		}
	})
}

func FuzzParseCallback(f *testing.F) {
	state := strings.Repeat("A", 43)
	for _, seed := range []string{"state=" + state + "&code=c", "state=" + state + "&error=access_denied&iss=https://a", "state=" + state + "&state=" + state, "state=%zz", ";", "code=c", "state=" + state + "&code=%00%0a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, ok := parseCallback(raw)
		if !ok {
			return
		}
		if len(raw) > maxCallback || len(query["state"]) != 1 || !isDigest(query.Get("state")) || len(query["code"]) > 1 || len(query["iss"]) > 1 {
			t.Errorf("%q is %v", raw, query)
		}
		if key := flowKey(browserFlow + digest(query.Get("state"))); strings.ContainsAny(key, "*> ") {
			t.Errorf("key %q", key)
		}
	})
}

// FuzzBrowserRoutes sends whatever may come to the routes that want no API key:
// they answer with a page of ours, and never with what they were sent.
func FuzzBrowserRoutes(f *testing.F) {
	rig := newFlowRig(f, flowOptions{idle: true})
	link := rig.session(f, "")[len(rig.URL):]
	state := strings.Repeat("A", 43)
	for _, target := range []string{
		"/oauth/callback/strict?state=" + state + "&code=<mark>", "/oauth/callback/<mark>?error=<mark>", "/oauth/callback/strict?state=%zz", "/connect/" + state,
		link, link + "/strict?auth=<mark>", link + "/<mark>", link + "/strict?auth=token", "/connect/%2e%2e%2f<mark>",
	} {
		f.Add("GET", target, "", "")
		f.Add("POST", target, "csrf=<mark>&auth=<mark>&field_token=<mark>", "plugfn_local="+state)
		f.Add("HEAD", target, "", "plugfn_local=<mark>")
	}
	f.Fuzz(func(t *testing.T, method, target, body, cookie string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		request := (&http.Request{Method: method, URL: u, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}).WithContext(t.Context())
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		rig.Config.Handler.ServeHTTP(w, request)
		if w.Code >= 500 {
			t.Errorf("%s %q: %d %s", method, target, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "<mark>") {
			t.Errorf("%s %q: shows what it was sent: %s", method, target, w.Body)
		}
		if to := w.Header().Get("Location"); w.Code == http.StatusSeeOther && !strings.HasPrefix(to, "../") && !strings.HasPrefix(to, rig.as.URL) {
			t.Errorf("%s %q: sends the browser to %s", method, target, to)
		}
	})
}
