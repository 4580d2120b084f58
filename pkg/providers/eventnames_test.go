package providers

import (
	"strings"
	"testing"
)

func TestEventNames(t *testing.T) {
	w := demo(t, demoWith(`event: [json:/type]`, `event_names: {without: "zen:event:", dots: ":/"}`))
	for sent, want := range map[string]string{
		"zen:event:ticket.created": "ticket.created",
		"orders/create":            "orders.create",
		"jira:issue_created":       "jira.issue_created",
		"a:zen:event:b":            "a.zen.event.b",
		"plain-name":               "plain-name",
		"é:\u00ff":                 "é.\u00ff",
	} {
		n, err := eventOf(t, w, `{"type":"`+sent+`"}`)
		if err != nil || n.Name != want || n.Type != "com.demo."+want {
			t.Errorf("%s becomes %s, type %s, %v; want %s", sent, n.Name, n.Type, err, want)
		}
	}
	if n, err := eventOf(t, w, `{"type":"zen:event:"}`); err == nil {
		t.Errorf("a name of which nothing is left becomes %q", n.Name)
	}
	w = demo(t, demoWith(`event: [json:/type]`))
	if n, err := eventOf(t, w, `{"type":"orders/create"}`); err != nil || n.Name != "orders/create" {
		t.Errorf("without event_names: %q, %v", n.Name, err)
	}
}

func TestEventNamesRefuses(t *testing.T) {
	for _, dots := range []string{"a", ".", "0", " ", "é", ":x"} {
		_, err := loadDemo(demoWith(`event_names: {dots: "` + dots + `"}`))
		if err == nil || !strings.Contains(err.Error(), "webhooks.event_names.dots") {
			t.Errorf("dots: %q gives %v", dots, err)
		}
	}
}

func TestTriggerNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"workflow-completed": true, "Issue.create": true, "a.1": true,
		"-a": false, "a..b": false, "a.": false, "a b": false, "a/b": false, "1a": false, "é": false, strings.Repeat("a", 101): false,
	} {
		_, err := loadDemo(demoBlock + "\ntriggers:\n  \"" + name + "\": {summary: x}\n")
		if (err == nil) != ok {
			t.Errorf("trigger %.20s: %v, want right is %t", name, err, ok)
		}
	}
}

func TestHostSource(t *testing.T) {
	w := demo(t, demoWith(`event: [json:/type]`, `account: [host:/issue/self, json:/site]`))
	for self, want := range map[string]string{
		"https://Acme.atlassian.net/rest/api/2/issue/1": "acme.atlassian.net",
		"https://acme.atlassian.net:8443/x":             "acme.atlassian.net",
		"https://user@acme.atlassian.net/x":             "acme.atlassian.net",
		"https://[2001:db8::1]/x":                       "2001:db8::1",
		"/rest/api/2/issue/1":                           "fallback",
		"acme.atlassian.net":                            "fallback",
		"https://a b/":                                  "fallback",
		"":                                              "fallback",
	} {
		n, err := eventOf(t, w, `{"type":"x","issue":{"self":"`+self+`"},"site":"fallback"}`)
		if err != nil || n.Account != want {
			t.Errorf("%s: account %q, %v; want %q", self, n.Account, err, want)
		}
	}
	if s, err := parseSource("host:/a/b"); err != nil || s.String() != "host:/a/b" {
		t.Errorf("host:/a/b is read as %q, %v", s, err)
	}
	for _, written := range []string{"host:a", "host:/~2"} {
		if _, err := parseSource(written); err == nil {
			t.Errorf("%s is taken", written)
		}
	}
}
