package providers_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

const cause = "run_j885eief_46ocknnk2idh73su2gk4rgs0s6"

// What PlugFn writes says in the events about it what led to it.
func TestCauseComesBack(t *testing.T) {
	for _, tt := range []struct{ pack, action, params, sent, event, otherwise string }{
		{"github", "issues.create", `{"owner":"o","repo":"r","title":"t","body":"a <b> & \"c\""}`, "body", `{"action":"opened","issue":{"number":1,"body":%s},"repository":{"id":1}}`, ""},
		{"github", "issues.createComment", `{"owner":"o","repo":"r","issue_number":1,"body":"x"}`, "body", `{"action":"created","issue":{"body":"<!-- plugfn:00000000-0000-4000-8000-000000000001 another -->"},"comment":{"body":%s}}`, "another"},
		{"slack", "chat.postMessage", `{"channel":"C0123456789","text":"hi","metadata":{"event_type":"mine","event_payload":{"n":1}}}`, "metadata", `{"type":"event_callback","event":{"type":"message_metadata_posted","metadata":%s}}`, ""},
	} {
		t.Run(tt.action, func(t *testing.T) {
			pack, err := providers.Load(catalog.FS, tt.pack)
			if err != nil {
				t.Fatal(err)
			}
			for _, given := range []string{cause, "", "no good", strings.Repeat("x", 65), "a-"} {
				want := tt.otherwise
				if given == cause {
					want = cause
				}
				mark := providers.Mark{Key: providers.FixtureKey, Cause: given}
				req, err := pack.Actions[tt.action].NewWrite(t.Context(), "https://provider.invalid", json.RawMessage(tt.params), providers.Credential{Token: providers.NewSecret([]byte("token"))}, mark)
				if err != nil {
					t.Fatal(err)
				}
				var sent map[string]json.RawMessage
				body, err := io.ReadAll(req.Body)
				if err == nil {
					err = json.Unmarshal(body, &sent)
				}
				if err != nil {
					t.Fatal(err)
				}
				header := http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"issues"}}
				reading, err := pack.Webhooks.Read(&providers.Delivery{Method: http.MethodPost, Header: header, Body: fmt.Appendf(nil, tt.event, sent[tt.sent])})
				if err != nil {
					t.Fatal(err)
				}
				event, err := reading.Event()
				if err != nil {
					t.Fatal(err)
				}
				if event.Cause != want {
					t.Errorf("the cause %q becomes %q in %s", given, event.Cause, event.Data)
				}
			}
		})
	}
}
