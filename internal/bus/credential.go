package bus

import (
	"fmt"
	"io"
	"slices"

	"github.com/plugfn/plugfn/pkg/events"
)

// Credential is what an application connects with: an nkey, whose secret half is
// kept nowhere but here. The consumers that it reads from are called
// [events.ApplicationName].
type Credential struct {
	User string // his id, or events.Everyone
	Key  string // the public half: what Users lists and RemoveUser takes

	seed []byte
}

// Seed is the secret: the text of an nkey seed file.
func (c Credential) Seed() []byte { return slices.Clone(c.seed) }

// InboxPrefix is below what the application gets replies. Its NATS client has
// to be told.
func (c Credential) InboxPrefix() string { return events.ApplicationInbox(c.User) }

// Format keeps the secret out of whatever is printed.
func (c Credential) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "credential "+c.Key+" of user "+c.User)
}
