package bus_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// outside is a server that an operator runs from a configuration file.
type outside struct {
	*server.Server
	file, head string
}

func serveOutside(t *testing.T, text string) *outside {
	t.Helper()
	dir := t.TempDir()
	o := &outside{file: filepath.Join(dir, "nats.conf")}
	o.head = fmt.Sprintf("listen: 127.0.0.1:%d\njetstream { store_dir: %q }\n", freePort(t), dir)
	writeFile(t, o.file, o.head+text)
	opts, err := server.ProcessConfigFile(o.file)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	opts.NoSigs, opts.NoLog = true, true
	if o.Server, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	o.Start()
	t.Cleanup(func() { halt(o.Server) })
	if !o.ReadyForConnections(10 * time.Second) {
		t.Fatal("server does not get ready")
	}
	return o
}

// reload is nats-server --signal reload, twice: an account that is new gets its
// imports with the second.
func (o *outside) reload(t *testing.T, text string) {
	t.Helper()
	writeFile(t, o.file, o.head+text)
	for range 2 {
		if err := o.Reload(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServerConfig has a server outside do what the embedded one does.
func TestServerConfig(t *testing.T) {
	keys := t.TempDir()
	roles, err := bus.RoleKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	o := serveOutside(t, bus.ServerConfig(roles, nil))
	b := bustest.New(t, func(c *bus.Config) { c.URL, c.NKey = o.ClientURL(), keys })
	u1, u2 := addUser(t, b, "u1"), addUser(t, b, "u2")
	addUser(t, b, events.Everyone)
	known, err := b.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.reload(t, bus.ServerConfig(roles, known))
	checkRoles(t, o.ClientURL(), keys)
	checkUser(t, b, o.ClientURL(), u1)
	checkReplies(t, b, o.ClientURL(), u1, u2)
	for _, role := range bus.Roles() {
		if err := as(t, b, role).Ready(t.Context()); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	checkRemoval(t, o, b, roles, u1)
}

// checkRemoval has a user who is taken out of the configuration disconnected.
func checkRemoval(t *testing.T, o *outside, b *bus.Bus, roles map[bus.Role]string, c bus.Credential) {
	t.Helper()
	closed := make(chan struct{})
	enter(t, o.ClientURL(), c, nats.ReconnectWait(time.Millisecond), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err := b.RemoveUser(t.Context(), c.User); err != nil {
		t.Fatal(err)
	}
	left, err := b.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.reload(t, bus.ServerConfig(roles, left))
	<-closed
}

var update = flag.Bool("update", false, "rewrite testdata")

// TestServerConfigText shows what an operator gets.
func TestServerConfigText(t *testing.T) {
	const golden = "testdata/server.conf"
	roles := map[bus.Role]string{}
	for _, role := range bus.Roles() {
		roles[role] = "U-key-of-" + string(role)
	}
	got := bus.ServerConfig(roles, []bus.User{
		{ID: "*", Keys: []bus.Key{{Public: "U-key-of-the-backend"}}},
		{ID: "u 1", Keys: []bus.Key{{Public: "U-key-1"}, {Public: "U-key-2"}}},
		{ID: "gone"},
	})
	if *update {
		writeFile(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the text is not that of %s (-update rewrites it):\n%s", golden, got)
	}
}
