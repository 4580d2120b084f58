package bus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// accountPlugFn is the account of the roles on a server that is configured by
// [ServerConfig]. The embedded server has them in its global account.
const accountPlugFn = "PLUGFN"

// ServerConfig returns the part of a NATS server's configuration that lets in
// the roles and the users, each with what it may do: one account for PlugFn and
// one for each user. roles are public keys as [RoleKeys] returns them, users
// are what [Bus.Users] returns.
//
// It goes into the configuration of every server of the cluster, which needs
// JetStream besides. A server that has accounts already gets the entries in its
// own accounts block. What a server kept for PlugFn in another account before
// does not move by itself.
//
// nats-server --signal reload reads it again. Where a user is new, do that
// twice: NATS 2.15 opens the border of a new account with the second reload, and
// until then nobody hears what its applications publish.
//
// A user without a key is left out.
func ServerConfig(roles map[Role]string, users []User) string {
	w := &configWriter{}
	users = slices.DeleteFunc(slices.Clone(users), func(u User) bool { return len(u.Keys) == 0 })
	w.line("# Made by PlugFn: who may connect, and what each may do.")
	w.block("accounts", func() {
		w.block(accountPlugFn, func() {
			w.line("jetstream: enabled")
			w.roles(roles)
			w.exports(users)
		})
		for _, u := range users {
			w.user(u)
		}
	})
	return w.text.String()
}

// configWriter writes the server's configuration language.
type configWriter struct {
	text  strings.Builder
	depth int
}

func (w *configWriter) line(format string, args ...any) {
	w.text.WriteString(strings.Repeat("  ", w.depth))
	fmt.Fprintf(&w.text, format+"\n", args...)
}

func (w *configWriter) block(name string, body func()) { w.enclose(name+" {", "}", body) }

func (w *configWriter) list(name string, body func()) { w.enclose(name+": [", "]", body) }

func (w *configWriter) enclose(first, last string, body func()) {
	w.line("%s", first)
	w.depth++
	body()
	w.depth--
	w.line("%s", last)
}

func (w *configWriter) roles(keys map[Role]string) {
	w.list("users", func() {
		for _, role := range Roles() {
			if key := keys[role]; key != "" {
				w.line("# %s", role)
				w.key(key, role.Permissions())
			}
		}
	})
}

func (w *configWriter) key(public string, p Permissions) {
	w.enclose("{ nkey: "+public+", permissions: {", "} }", func() {
		w.line("publish: { allow: %s }", texts(p.Publish))
		w.line("subscribe: { allow: %s }", texts(p.Subscribe))
	})
}

// exports are for the users' accounts only. An empty list would mean everyone.
func (w *configWriter) exports(users []User) {
	if len(users) == 0 {
		return
	}
	var accounts []string
	for _, u := range users {
		accounts = append(accounts, accountOf(u.name()))
	}
	w.list("exports", func() {
		for _, c := range exports() {
			w.line("{ %s, accounts: %s }", c.export(), texts(accounts))
		}
	})
}

func (c crossing) export() string {
	subject := strconv.Quote(c.subject)
	switch {
	case c.kind == hears:
		return "stream: " + subject
	case c.kind == pulls:
		return "service: " + subject + ", response_type: stream"
	case c.isCall():
		return "service: " + subject + ", response_threshold: " + strconv.Quote(callPatience.String())
	default:
		return "service: " + subject
	}
}

func (w *configWriter) user(u User) {
	w.block(strconv.Quote(accountOf(u.name())), func() {
		w.list("users", func() {
			for _, key := range u.Keys {
				w.key(key.Public, permissions(u.crossings()))
			}
		})
		w.list("imports", func() {
			for _, c := range u.crossings() {
				kind := "service"
				if c.kind == hears {
					kind = "stream"
				}
				w.line("{ %s: { account: %s, subject: %q } }", kind, accountPlugFn, c.subject)
			}
		})
	})
}

func texts(all []string) string {
	quoted := slices.Clone(all)
	for i, s := range quoted {
		quoted[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
