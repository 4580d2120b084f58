package auth

import (
	"net/url"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestReturnTo(t *testing.T) {
	list, err := newReturnList([]string{
		"https://app.example.com/settings", "https://other.example.com", "https://port.example.com:8443/", "http://localhost:3000", "http://[::1]:3000/a",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{
		"", "https://app.example.com/settings", "https://app.example.com/settings/", "https://app.example.com/settings/x?y=https://evil.example#z",
		"https://APP.example.com:443/settings", "https://other.example.com", "https://other.example.com/", "https://other.example.com/any/thing",
		"https://other.example.com?x=1", "https://port.example.com:8443/x", "http://localhost:3000/done", "http://[::1]:3000/a/b", "https://other.example.com/%C3%BC",
	} {
		if err := list.check(good); err != nil {
			t.Errorf("%s is refused: %v", good, err)
		}
	}
	for _, bad := range []string{
		"https://app.example.com", "https://app.example.com/", "https://app.example.com/settingsx", "https://app.example.com/Settings",
		"https://app.example.com/settings/../admin", "https://app.example.com/settings/%2e%2E/admin", "https://app.example.com/settings/..%2fadmin",
		"https://app.example.com/settings/..", "https://app.example.com/settings/%5c..", "https://app.example.com/settings\\..\\admin",
		"https://app.example.com.evil.example/settings", "https://evil.example/https://app.example.com/settings",
		"https://app.example.com@evil.example/settings", "https://app.example.com:444/settings", "https://user@other.example.com/",
		"http://app.example.com/settings", "https://other.example.com:80/", "https:other.example.com", "https:///other.example.com", "//other.example.com",
		"/settings", "other.example.com", "javascript:alert(1)", "javascript://other.example.com/%0aalert(1)", "data:text/html,x", "HTTPS://",
		"https://other.example.com/\n", " https://other.example.com/", "https://other.example.com/a b", "https://other.example.com/\t", "https://öther.example.com/",
		"https://other.example.com./", "https://port.example.com/", "http://localhost:3001/", "http://127.0.0.1:3000/", "https://localhost:3000/",
		"https://other.example.com/" + strings.Repeat("x", maxReturnTo), "https://other.example.com/%zz", "ftp://other.example.com/",
	} {
		if err := list.check(bad); err == nil {
			t.Errorf("%q is let through", bad)
		} else {
			wantCode(t, err, events.CodeInvalidParams)
		}
	}
	var none returnList
	wantCode(t, none.check("https://app.example.com/"), events.CodeInvalidParams)
}

func TestReturnListRefuses(t *testing.T) {
	for _, bad := range []string{"", "*", "app.example.com", "http://app.example.com", "https://app.example.com/?x", "https://app.example.com/#x", "https://*.example.com", "https://u@app.example.com"} {
		if list, err := newReturnList([]string{bad}); err == nil {
			t.Errorf("%q is taken for %v", bad, list)
		}
	}
}

func TestWithParams(t *testing.T) {
	params := url.Values{"plugfn_status": {"connected"}, "x": {"a b&c"}}
	for target, want := range map[string]string{
		"https://a.example":           "https://a.example?plugfn_status=connected&x=a+b%26c",
		"https://a.example/b?c=d":     "https://a.example/b?c=d&plugfn_status=connected&x=a+b%26c",
		"https://a.example/b?c=d#e=f": "https://a.example/b?c=d&plugfn_status=connected&x=a+b%26c#e=f",
	} {
		if got, err := withParams(target, params); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{"https://app.example.com/settings/x?y#z", "https://app.example.com/settings/%2e%2e/", "https://app.example.com\\@evil.example/settings", "//app.example.com/settings"} {
		f.Add(seed)
	}
	list, err := newReturnList([]string{"https://app.example.com/settings"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if target == "" || list.check(target) != nil {
			return
		}
		sent, err := withParams(target, url.Values{"k": {"v"}})
		if err != nil {
			t.Fatalf("%q is on the list and cannot be sent to: %v", target, err)
		}
		// However it is put together, it begins as the operator wrote it.
		for _, text := range []string{target, sent} {
			scheme, rest, _ := strings.Cut(text, "://")
			host, path, _ := strings.Cut(rest, "/")
			if !strings.EqualFold(scheme, "https") || !strings.EqualFold(strings.TrimSuffix(strings.TrimRight(host, ":"), ":443"), "app.example.com") {
				t.Errorf("%q leads to host %q", text, host)
			}
			if !strings.HasPrefix(path, "settings") || strings.Contains(path[:len("settings")], "..") {
				t.Errorf("%q leads to path %q", text, path)
			}
		}
	})
}
