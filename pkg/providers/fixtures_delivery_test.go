package providers

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const demoFixture = `
request:
  path: /webhooks/demo?x=1
  headers: {Content-Type: application/json, x-event: hello}
  body: '{"type":"hello"}'
secret: key
at: 2026-01-02T03:04:05Z
expect: {verified: body, event: hello, type: com.demo.hello, id: x}
`

func loadFixtures(t *testing.T, files map[string]string) ([]DeliveryFixture, error) {
	t.Helper()
	fsys := fstest.MapFS{"demo/provider.yaml": {Data: []byte(demoHead + demoBlock)}}
	for name, text := range files {
		fsys["demo/fixtures/deliveries/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	p, err := Load(fsys, "demo")
	if err != nil {
		t.Fatal(err)
	}
	return p.DeliveryFixtures()
}

func TestDeliveryFixture(t *testing.T) {
	fixtures, err := loadFixtures(t, map[string]string{
		"b.yaml":      demoFixture,
		"a.test.yaml": strings.Replace(demoFixture, `body: '{"type":"hello"}'`, "body_file: a.json", 1),
		"a.json":      "{}\r\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(fixtures) != 2 || fixtures[0].Name != "a.test" || fixtures[1].Name != "b" {
		t.Fatalf("got fixtures %+v, want a.test and b", fixtures)
	}
	if body := fixtures[0].Request.Body; body != "{}\r\n" {
		t.Errorf("the body of the file is %q", body)
	}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	d, err := fixtures[1].Delivery(now)
	if err != nil {
		t.Fatal(err)
	}
	if d.Method != http.MethodPost || d.URL.String() != "/webhooks/demo?x=1" || d.Header.Get("X-Event") != "hello" || !d.ReceivedAt.Equal(now) {
		t.Errorf("delivery is %+v", d)
	}
	if d.Header.Get("X-Sig") != "" {
		t.Error("a delivery without a published signature has one")
	}
}

func TestDeliveryFixtureRefuses(t *testing.T) {
	tests := map[string]struct{ old, new, want string }{
		"an unknown key":    {"secret: key", "secret: key\nsekret: x", "b.yaml:7: sekret: unknown key, did you mean secret?"},
		"no time":           {"at: 2026-01-02T03:04:05Z\n", "", "at: is missing"},
		"a time that is no": {"2026-01-02T03:04:05Z", "yesterday", "b.yaml:7: at: must be a time such as"},
		"two bodies":        {"body: '", "body_file: a.json\n  body: '", "request: has a body and a body_file"},
		"no body file":      {`body: '{"type":"hello"}'`, "body_file: ../../provider.yaml", "request.body_file: reading it"},
		"a bad path":        {"/webhooks/demo?x=1", "webhooks", "request.path: is not a path"},
		"an unknown level":  {"verified: body", "verified: full", "expect.verified:"},
		"nothing expected":  {"event: hello, ", "", "expect: needs one of event, events, empty and handshake"},
		"both expected":     {"event: hello, ", "event: hello, handshake: {status: 200}, ", "expect: needs one of"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(demoFixture, tt.old, tt.new, 1)
			_, err := loadFixtures(t, map[string]string{"b.yaml": text, "a.json": "{}"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error\n%v\nwant one with %q", err, tt.want)
			}
		})
	}
}
