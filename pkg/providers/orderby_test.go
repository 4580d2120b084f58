package providers

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
)

const ordered = "    effect: idempotent\n    order_by: [connection, params.room]\n"

func TestOrderBySaysWhatIsWrong(t *testing.T) {
	tests := []struct{ name, new, want string }{
		{"dimension", "[connexion]", `order_by[0]: must be connection or params.NAME, did you mean connection?`},
		{"twice", "[connection, connection]", `order_by[1]: connection is there twice`},
		{"unknown property", "[params.rom]", `order_by[0]: params has no property "rom", did you mean room?`},
		{"object property", "[params.scene]", `order_by[0]: params.properties.scene must have type string`},
		{"account", "[connection.account]", `order_by[0]: must be connection or params.NAME`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := change(t, minimal, "    effect: idempotent\n", strings.Replace(ordered, "[connection, params.room]", tt.new, 1))
			_, err := Load(fstest.MapFS{"lamp/provider.yaml": {Data: []byte(text)}}, "lamp")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error\n  %v\nwant\n  %s", err, tt.want)
			}
		})
	}
}

func TestOrderKey(t *testing.T) {
	a := mustLoad(t, change(t, minimal, "    effect: idempotent\n", ordered)).Actions["lamps.set"]
	key := func(params, connection string) string {
		k, err := a.OrderKey(json.RawMessage(params), connection)
		if err != nil || len(k) != 32 {
			t.Errorf("key %q, %v", k, err)
		}
		return k
	}
	one := key(`{"room":"a","lamp":1}`, "c1")
	for what, same := range map[string]bool{
		key(`{"lamp":2,"room":"a"}`, "c1"): true,
		key(`{"room":"b","lamp":1}`, "c1"): false,
		key(`{"room":"a","lamp":1}`, "c2"): false,
		key(`{"room":"a","lamp":1}`, ""):   false,
	} {
		if (what == one) != same {
			t.Errorf("%s beside %s, want the same: %t", what, one, same)
		}
	}
	if !a.IsOrdered() {
		t.Error("not ordered")
	}
	if _, err := a.OrderKey(json.RawMessage(`[]`), ""); err == nil {
		t.Error("a list passed as parameters")
	}
}
