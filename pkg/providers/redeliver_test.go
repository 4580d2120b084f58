package providers

import (
	"strings"
	"testing"
	"time"
)

const redeliverBlock = `
  redeliver:
    auth: token
    list: lamps.sent
    params: {limit: 50}
    items: json:/sent
    failed: item.code != 200
    id: json:/guid
    time: {from: json:/at, format: unix}
    again: lamps.again
    with: {id: "{{item.n}}"}
`

// redeliverPack is the small pack with webhooks that can be sent again.
func redeliverPack() string {
	return strings.Replace(minimal, "actions:\n", `actions:
  lamps.sent:
    summary: List what was sent
    effect: read
    params: {type: object, additionalProperties: false, properties: {limit: {type: integer}}}
    request: {method: GET, path: /sent, query: {limit: "{{params.limit}}"}}
  lamps.again:
    summary: Send again
    effect: idempotent
    params: {type: object, additionalProperties: false, required: [id], properties: {id: {type: integer}}}
    request: {method: POST, path: "/sent/{{params.id}}"}
`, 1) + `
event_prefix: example.lamp
webhooks:
  bodies: [json]
  verify:
    - {scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}]}
  event: [json:/type]
` + strings.TrimPrefix(redeliverBlock, "\n")
}

func TestRedeliver(t *testing.T) {
	d := mustLoad(t, redeliverPack()).Webhooks.Redeliver
	if got := string(d.ListParams()); got != `{"limit":50}` {
		t.Errorf("params %s", got)
	}
	if d.Longest() != 72*time.Hour || d.Tries() != 5 {
		t.Errorf("defaults %s, %d", d.Longest(), d.Tries())
	}
	all, err := d.Read([]byte(`{"sent":[
		{"guid":"a","at":1700000000,"code":200,"n":12345678901234567},
		{"guid":"b","at":1700000001,"code":502,"n":2},
		{"guid":"b","at":1700000002,"code":null,"n":3},
		{"guid":"","at":1700000003,"n":4}, {"guid":"c","at":"soon","n":5}, {"at":1}, 7, null
	]}`))
	if err != nil || len(all) != 3 {
		t.Fatalf("got %+v, %v", all, err)
	}
	if all[0].Failed || !all[1].Failed || !all[2].Failed || all[1].ID != "b" || all[1].Time.Unix() != 1700000001 {
		t.Errorf("got %+v", all)
	}
	if got := string(all[0].Again); got != `{"id":12345678901234567}` {
		t.Errorf("again with %s", got)
	}
	for _, data := range []string{`{}`, `[]`, `{"sent":{}}`, `nothing`, ``} {
		if _, err := d.Read([]byte(data)); err == nil {
			t.Errorf("%q was read", data)
		}
	}
}

func TestRedeliverRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"auth: token\n    list", "auth: other\n    list", "webhooks.redeliver.auth: must be the id"},
		{"list: lamps.sent", "list: lamps.set", "webhooks.redeliver.list: must have effect: read"},
		{"list: lamps.sent", "list: lamps.sen", "did you mean lamps.sent"},
		{"params: {limit: 50}", "params: {limits: 50}", "is no parameter of lamps.sent"},
		{"params: {limit: 50}", `params: {limit: "{{item.n}}"}`, "nothing was listed yet"},
		{`with: {id: "{{item.n}}"}`, `with: {id: "{{key}}"}`, "only {{item.NAME}}"},
		{"again: lamps.again", "again: nothing", "webhooks.redeliver.again: is no action"},
		{"failed: item.code != 200", "failed: item.code !=", "webhooks.redeliver.failed"},
		{"    failed: item.code != 200\n", "", "webhooks.redeliver.failed: is missing"},
		{"id: json:/guid", "id: header:X-Guid", "webhooks.redeliver.id: must be json"},
		{"format: unix}", "format: iso}", "webhooks.redeliver.time.format"},
		{"items: json:/sent", "items: header:X", "webhooks.redeliver.items"},
		{"auth: token\n    list", "attempts: 99\n    auth: token\n    list", "at most 20"},
		{"auth: token\n    list", "horizon: 9000h\n    auth: token\n    list", "at most 2160h"},
	} {
		if _, err := loadText(t, change(t, redeliverPack(), c.old, c.new)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
}

func FuzzRedeliver(f *testing.F) {
	f.Add([]byte(`{"sent":[{"guid":"b","at":1700000001,"code":502,"n":2}]}`))
	f.Add([]byte(`{"sent":[[],{},{"guid":{}}]}`))
	p, err := Load(mapFS(redeliverPack()), "lamp")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _ := p.Webhooks.Redeliver.Read(data)
		for _, a := range all {
			if a.ID == "" || len(a.ID) > maxID || a.Again == nil {
				t.Errorf("got %+v", a)
			}
		}
	})
}
