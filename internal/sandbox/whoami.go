package sandbox

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// accountLabel is what people know the account of the sandbox by.
const accountLabel = "sandbox"

// tell answers a question about a credential: whose it is, whether it is good.
func (s *authority) tell(auth *providers.Auth, _ *asked) *answer {
	body := map[string]any{"ok": true}
	if auth.Identity != nil {
		s.putAccount(body, auth.Identity)
	}
	return object(http.StatusOK, body)
}

func (s *authority) putAccount(body map[string]any, identity *providers.Identity) {
	if len(identity.Account) > 0 {
		place(body, identity.Account[0], number(s.account))
	}
	if len(identity.Label) > 0 {
		place(body, identity.Label[0], accountLabel)
	}
}

// number is a text as providers write it: an id of digits only is a number.
func number(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return json.Number(text)
	}
	return text
}

// place puts a value where a source finds it. The path of a source goes through
// objects; what it would find in a list or a header is left out.
func place(body map[string]any, at providers.Source, value any) {
	pointer, ok := strings.CutPrefix(at.String(), "json:/")
	if !ok {
		return
	}
	steps := strings.Split(pointer, "/")
	for i, step := range steps {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		if i == len(steps)-1 {
			body[step] = value
			return
		}
		next, ok := body[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			body[step] = next
		}
		body = next
	}
}
