package providers

import (
	"strings"
	"testing"
	"time"
)

const pollBlock = `
event_prefix: example.lamp
triggers:
  lamp.changed:
    summary: A lamp was changed
    poll:
      action: lamps.list
      params: {all: true}
      since: {param: after, format: unix}
      items: json:/lamps
      id: json:/id
      version: json:/changed
      time: {from: json:/changed, format: unix}
      when: item.on == true
      every: 30s
`

// pollPack is the small pack with a trigger that is looked for.
func pollPack() string {
	return strings.Replace(minimal, "actions:\n", `actions:
  lamps.list:
    summary: List lamps
    effect: read
    params: {type: object, additionalProperties: false, properties: {all: {type: boolean}, after: {type: integer}, room: {type: string}}}
    request: {method: GET, path: /lamps, query: {all: "{{params.all}}", after: "{{params.after}}", room: "{{params.room}}"}}
`, 1) + pollBlock
}

func TestPoll(t *testing.T) {
	p := mustLoad(t, pollPack()).Triggers["lamp.changed"].Poll
	if p.Shortest() != 30*time.Second {
		t.Errorf("every %s", p.Shortest())
	}
	for _, c := range []struct {
		chosen string
		since  time.Time
		want   string
	}{
		{``, time.Time{}, `{"all":true}`},
		{`{"room":"hall"}`, time.Unix(1700000000, 5), `{"after":1700000000,"all":true,"room":"hall"}`},
	} {
		if got, err := p.Fill([]byte(c.chosen), c.since); err != nil || string(got) != c.want {
			t.Errorf("%s filled to %s, %v", c.chosen, got, err)
		}
	}
	for chosen, want := range map[string]string{
		`[]`: "must be a JSON object", `{"all":false}`: "params.all: is set by the trigger", `{"after":1}`: "params.after: is set",
	} {
		if _, err := p.Fill([]byte(chosen), time.Time{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", chosen, err)
		}
	}
	all, err := p.Read([]byte(`{"lamps":[
		{"id":12345678901234567,"changed":1700000001,"on":true,"n":1.50},
		{"id":2,"changed":1700000000,"on":false},
		{"changed":1,"on":true}, {"id":"","on":true}, {"id":3,"changed":"soon","on":true}, 7, null
	]}`))
	if err != nil || len(all) != 2 {
		t.Fatalf("got %+v, %v", all, err)
	}
	if one := all[0]; one.ID != "12345678901234567" || one.Version != "1700000001" || one.Time.Unix() != 1700000001 ||
		string(one.Data) != `{"changed":1700000001,"id":12345678901234567,"n":1.50,"on":true}` {
		t.Errorf("got %+v %s", one, one.Data)
	}
	if !all[1].Time.IsZero() || all[1].Version != "soon" {
		t.Errorf("got %+v", all[1])
	}
	for _, data := range []string{`{}`, `[]`, `{"lamps":{}}`, `nothing`, ``} {
		if _, err := p.Read([]byte(data)); err == nil {
			t.Errorf("%q was read", data)
		}
	}
}

func TestPollRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"action: lamps.list", "action: lamps.lis", "triggers.lamp.changed.poll.action: is no action of the pack, did you mean lamps.list"},
		{"action: lamps.list", "action: lamps.set", "must have effect: read"},
		{"params: {all: true}", "params: {al: true}", "triggers.lamp.changed.poll.params.al: is no parameter of lamps.list"},
		{"params: {all: true}", `params: {all: "{{item.x}}"}`, "{{item.x}} is not known here"},
		{"since: {param: after, format: unix}", "since: {param: afterwards, format: unix}", "poll.since.param: is no parameter"},
		{"since: {param: after, format: unix}", "since: {param: after, format: iso}", "poll.since.format"},
		{"      time: {from: json:/changed, format: unix}\n", "", "poll.since: needs time"},
		{"items: json:/lamps", "items: header:X", "poll.items: must be json:/pointer"},
		{"id: json:/id", "id: header:X", "poll.id: must be json:/pointer"},
		{"version: json:/changed", "version: header:X", "poll.version: must be json:/pointer"},
		{"every: 30s", "every: 1ms", "poll.every: must be from 1s"},
		{"every: 30s", "first: none", "poll.first"},
		{"event_prefix: example.lamp", "event_prefix: Lamp", "event_prefix: must be a reverse domain"},
	} {
		if _, err := loadText(t, change(t, pollPack(), c.old, c.new)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
}

func FuzzPoll(f *testing.F) {
	f.Add([]byte(`{"lamps":[{"id":"b","changed":1700000001,"on":true}]}`))
	f.Add([]byte(`{"lamps":[[],{},{"id":{}}]}`))
	p, err := Load(mapFS(pollPack()), "lamp")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _ := p.Triggers["lamp.changed"].Poll.Read(data)
		for _, one := range all {
			if one.ID == "" || len(one.ID) > maxID || len(one.Version) > maxID || one.Data == nil {
				t.Errorf("got %+v", one)
			}
		}
	})
}
