package rehearsal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// Example is an event as the pack's own example deliveries make it; not ok where
// there is none of these names.
func Example(pack *providers.Pack, names workflow.Names) (e Event, ok bool, err error) {
	fixtures, err := pack.DeliveryFixtures()
	if err != nil {
		return e, false, err
	}
	for _, f := range fixtures {
		all := f.Expect.All()
		i := slices.IndexFunc(all, func(e providers.EventExpect) bool { return names.Match(e.Event) })
		if i < 0 {
			continue
		}
		expect := all[i]
		body := json.RawMessage(f.Request.Body)
		if expect.Data != "" {
			body = json.RawMessage(expect.Data)
		}
		if !json.Valid(body) {
			continue // a form, or a batch: its data is not known without a server
		}
		e, err := Make(pack.Name, expect.Event, body)
		if err != nil {
			return e, false, err
		}
		return e, true, nil
	}
	return e, false, nil
}

// Make makes an event with a payload, a JSON text.
func Make(provider, name string, data json.RawMessage) (Event, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(map[string]any{
		"id": "rehearsal", "type": "dev.plugfn.rehearsal." + name, "source": "/plugfn/" + provider + "/rehearsal/_", "subject": "",
		"time": time.Now().UTC().Format(time.RFC3339Nano), "provider": provider, "name": name, "connection": "", "account": "", "data": data,
	})
	if err != nil {
		return Event{}, fmt.Errorf("the payload of %s %s: %w", provider, name, err)
	}
	return Event{Provider: provider, Name: name, Seen: bytes.TrimSpace(b.Bytes())}, nil
}
