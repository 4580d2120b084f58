package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestBatchRefusesWholeFile(t *testing.T) {
	const good = `{"user":"u","action":"slack.post","id":"a"}` + "\n"
	for name, c := range map[string]struct{ file, want string }{
		"empty":          {"\n \n", "no action"},
		"no JSON":        {good + "x", "line 2: "},
		"misspelt":       {`{"user":"u","action":"slack.post","parms":{}}`, `"parms"`},
		"two values":     {`{"user":"u","action":"slack.post"} {}`, "more than one"},
		"no user":        {`{"action":"slack.post"}`, "user is missing"},
		"no action":      {`{"user":"u","action":"slack."}`, "must be <provider>.<action>"},
		"params no list": {`{"user":"u","action":"slack.post","params":[]}`, "must be an object"},
		"same id":        {good + "\n" + good, `line 3: id "a" is that of line 1`},
		"long id":        {`{"user":"u","action":"slack.post","id":"` + strings.Repeat("a", events.MaxID+1) + `"}`, "longer than 256"},
		"header in id":   {`{"user":"u","action":"slack.post","id":"a\r\nPlugfn-Reply: b"}`, "one line"},
	} {
		if _, err := parseBatch([]byte(c.file), ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want it to say %q", name, err, c.want)
		}
	}
}

// TestBatchIDs: the same file has the same ids, another one has none of them.
func TestBatchIDs(t *testing.T) {
	const file = `{"action":"slack.post"}` + "\n" + `{"action":"slack.post"}` + "\n"
	ids := map[string]int{}
	for _, c := range []struct{ file, user string }{{file, "u"}, {file, "u"}, {file + "\n", "u"}, {file, "v"}} {
		all, err := parseBatch([]byte(c.file), c.user)
		if err != nil || len(all) != 2 {
			t.Fatalf("%d requests, error %v", len(all), err)
		}
		for _, r := range all {
			ids[r.ID]++
		}
	}
	if len(ids) != 6 {
		t.Errorf("ids %v: want two for each of three different files", ids)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"user":"u","action":"slack.post","params":{"a":1},"id":"x","connection":"c"}`))
	f.Add([]byte("\n{}\nnull"))
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := parseBatch(file, "")
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%d requests and error %v", len(all), err)
		}
		for _, r := range all {
			msg := r.Msg(r.Subject())
			got, err := events.ParseActionRequest(msg.Subject, msg.Header, msg.Data)
			if err != nil || got.ID != r.ID || got.UserID != r.UserID || got.ConnectionID != r.ConnectionID {
				t.Fatalf("%+v is read as %+v, %v", r, got, err)
			}
		}
	})
}

func TestLedger(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger")
	request := events.ActionRequest{ID: "a", UserID: "u"}
	l, err := openLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	result := &events.Result{ID: "a", UserID: "u", Outcome: events.Succeeded}
	for range 2 {
		if err := l.add(&ended{Line: 1, ID: "a", Result: result}); err != nil {
			t.Fatal(err)
		}
	}
	l.close()
	noted, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(noted[:len(noted):len(noted)], `{"line":2,"id`...)
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = openLedger(path); err != nil {
		t.Fatal(err)
	}
	if l.known(&request) == nil {
		t.Error("the ledger forgot what was noted")
	}
	l.close()
	if got, _ := os.ReadFile(path); string(got) != string(noted) {
		t.Errorf("the ledger is %q, want the torn line cut off", got)
	}

	other := filepath.Join(dir, "other")
	const text = "not to be lost"
	if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLedger(other); err == nil {
		t.Error("a file that is no ledger was taken for one")
	}
	if got, _ := os.ReadFile(other); string(got) != text {
		t.Errorf("a file that is no ledger became %q", got)
	}
}
