package bus_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// newClosed is a bus that asks who connects, over TCP as well.
func newClosed(t *testing.T, edits ...func(*bus.Config)) *bus.Bus {
	t.Helper()
	return bustest.New(t, append([]func(*bus.Config){bustest.Listen, bustest.Secure}, edits...)...)
}

// dial connects as any NATS client would.
func dial(t *testing.T, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, append(options, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// seedOf is the key of a role, from the files of a directory.
func seedOf(t *testing.T, dir string, role bus.Role) nats.Option {
	t.Helper()
	option, err := nats.NkeyOptionFromSeed(filepath.Join(dir, string(role)+".nk"))
	if err != nil {
		t.Fatal(err)
	}
	return option
}

// maySubscribe reports what the server says about a subscription.
func maySubscribe(t *testing.T, conn *nats.Conn, subject string) bool {
	t.Helper()
	return allows(t, conn, func() error {
		sub, err := conn.SubscribeSync(subject)
		if err == nil {
			t.Cleanup(func() { _ = sub.Unsubscribe() })
		}
		return err
	})
}

// mayPublish reports what the server says about an empty message.
func mayPublish(t *testing.T, conn *nats.Conn, subject string) bool {
	t.Helper()
	return allows(t, conn, func() error { return conn.Publish(subject, nil) })
}

// allows reports whether the server takes what is sent. It refuses before it
// answers the flush.
func allows(t *testing.T, conn *nats.Conn, send func() error) bool {
	t.Helper()
	before := conn.LastError()
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if after := conn.LastError(); !errors.Is(after, before) {
		if !errors.Is(after, nats.ErrPermissionViolation) {
			t.Fatal(after)
		}
		return false
	}
	return true
}

const (
	admin     = bus.RoleAdmin
	ingress   = bus.RoleIngress
	executor  = bus.RoleExecutor
	auth      = bus.RoleAuth
	scheduler = bus.RoleScheduler
)

// mayBePublished is who may publish what.
func mayBePublished() map[string][]bus.Role {
	return map[string][]bus.Role{
		"plugfn.svc.auth.token":          {executor},
		"plugfn.svc.auth.other":          {},
		"plugfn.action.u1.p.a":           {admin, executor, scheduler},
		"plugfn.call.u1.p.a":             {admin},
		"plugfn.result.u1.p.succeeded.1": {admin, executor},
		"plugfn.event.u1.p.e":            {admin, ingress, scheduler},
		"plugfn.connection.u1.p.created": {admin, auth},
		"plugfn.connection.u1.p.due":     {admin, auth, scheduler},
		"plugfn.audit.u1.p.c.used":       {admin, auth},
		"plugfn.svc.auth.webhooks":       {ingress},
		"plugfn.svc.ingress.rejected":    {admin},

		"plugfn.svc.executor.cancel.u.r":    {admin},
		"plugfn.svc.executor.resolve.u.r":   {admin},
		"plugfn.svc.auth.endpoints":         {ingress},
		"plugfn.svc.auth.endpoints.learned": {ingress},
		"plugfn.svc.auth.endpoints.seen":    {ingress},
		"plugfn.svc.auth.endpoints.other":   {},

		"plugfn.svc.scheduler.schedules.u.list": {admin},
		"plugfn.svc.scheduler.wake.u.s":         {},
		"plugfn.event.u1.schedule.e":            {admin, ingress, scheduler},
		"plugfn.later.schedule.u1.a":            {admin, scheduler},
		"$KV.PLUGFN_SCHEDULES.u1.s":             {admin, scheduler},
		"plugfn.svc.scheduler.runs.u.list":      {admin},
		"$KV.PLUGFN_WORKFLOWS.u1.w":             {admin, scheduler},
		"$KV.PLUGFN_RUNS.u1.w.r":                {admin, scheduler},
		"$KV.PLUGFN_WAITS.u1.w.r.s":             {admin, scheduler},
		"$KV.PLUGFN_TURNS.u1.w.k":               {admin, scheduler},
		"$KV.PLUGFN_DEFINITIONS.u1.w.d":         {admin, scheduler},

		"plugfn.later.connection.u1.a": {admin, auth, scheduler},
		"plugfn.run.u1.w.s":            {admin, scheduler},
		"plugfn.later.action.u1.a":     {admin, executor, scheduler},
		"plugfn.later.run.u1.a":        {admin, scheduler},
		"plugfn.due.action.u1":         {admin},
		"plugfn.dead.event.u1.p.e":     {admin, ingress},
		"plugfn.dead.action.u1.p.a":    {admin, executor, scheduler},
		"other":                        {},

		"_INBOX.a":                 {admin, ingress, executor, auth, scheduler}, // answers to operators, results to applications
		"_PLUGFN_INBOX.executor.a": {executor, auth},
		"_PLUGFN_INBOX.auth.a":     {auth},
		"_PLUGFN_INBOX.ingress.a":  {ingress, auth}, // webhook secrets

		"$KV.PLUGFN_CONNECTIONS.u1.p.c": {admin, auth},
		"$KV.PLUGFN_KEYS.canary":        {admin, auth},
		"$KV.PLUGFN_APPS.a":             {admin, auth},
		"$KV.PLUGFN_ENDPOINTS.u1.c.e":   {admin, auth},
		"$KV.PLUGFN_STATES.a":           {admin, auth},
		"$KV.PLUGFN_REVOCATIONS.a":      {admin, auth},
		"$KV.PLUGFN_JOURNAL.u1.r":       {admin, executor},
		"$KV.PLUGFN_WAITING.u1.p.r":     {admin, executor},
		"$KV.PLUGFN_ORDER.u1.p.a":       {admin, executor},
		"$KV.PLUGFN_USERS.app":          {admin},
		"$KV.PLUGFN_HEALING.github.c":   {admin, scheduler},

		"$JS.API.DIRECT.GET.KV_PLUGFN_CONNECTIONS.$KV.PLUGFN_CONNECTIONS.u1.p.c":   {admin, auth},
		"$JS.API.DIRECT.GET.KV_PLUGFN_USERS.$KV.PLUGFN_USERS.app":                  {admin},
		"$JS.API.DIRECT.GET.KV_PLUGFN_HEALING.$KV.PLUGFN_HEALING.github.c":         {admin, scheduler},
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_RUNS.healer":                             {admin, scheduler},
		"$JS.API.STREAM.MSG.GET.KV_PLUGFN_CONNECTIONS":                             {admin},
		"$JS.API.STREAM.MSG.GET.KV_PLUGFN_RUNS":                                    {admin, scheduler},
		"$JS.API.STREAM.MSG.GET.PLUGFN_EVENTS":                                     {admin, scheduler},
		"$JS.API.STREAM.MSG.GET.PLUGFN_ACTIONS":                                    {admin},
		"$JS.API.STREAM.MSG.GET.PLUGFN_RESULTS":                                    {admin},
		"$JS.API.CONSUMER.CREATE.KV_PLUGFN_CONNECTIONS.x.$KV.PLUGFN_CONNECTIONS.>": {admin, ingress, auth, scheduler},
		"$JS.API.CONSUMER.CREATE.KV_PLUGFN_KEYS.x.$KV.PLUGFN_KEYS.>":               {admin, auth},
		"$JS.API.CONSUMER.CREATE.KV_PLUGFN_CONNECTIONS":                            {admin},
		"$JS.API.CONSUMER.CREATE.PLUGFN_ACTIONS.executor.plugfn.action.>":          {admin, executor},
		"$JS.API.CONSUMER.CREATE.PLUGFN_ACTIONS.mine.plugfn.action.>":              {admin},
		"$JS.API.CONSUMER.CREATE.PLUGFN_EVENTS.executor.plugfn.event.>":            {admin},
		"$JS.API.CONSUMER.CREATE.PLUGFN_EVENTS.reroute.plugfn.event._.p.>":         {admin, ingress},
		"$JS.API.CONSUMER.CREATE.PLUGFN_EVENTS.reroute.plugfn.connection.>":        {admin},
		"$JS.API.CONSUMER.CREATE.PLUGFN_EVENTS.reroute":                            {admin},
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_EVENTS.reroute":                          {admin, ingress},
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_EVENTS.app":                              {admin},
		"$JS.API.DIRECT.GET.PLUGFN_EVENTS":                                         {admin, ingress},
		"$JS.API.DIRECT.GET.PLUGFN_ACTIONS":                                        {admin, executor},
		"$JS.API.CONSUMER.DURABLE.CREATE.PLUGFN_ACTIONS.executor":                  {admin},
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_ACTIONS.executor":                        {admin, executor},
		"$JS.API.CONSUMER.MSG.NEXT.PLUGFN_LATER.mover":                             {admin, scheduler},
		"$JS.ACK.PLUGFN_ACTIONS.executor.1.1.1.1.1":                                {admin, executor},
		"$JS.ACK.PLUGFN_LATER.mover.1.1.1.1.1":                                     {admin, scheduler},
		"$JS.ACK.domain.hash.PLUGFN_LATER.mover.1.1.1.1.1":                         {admin, scheduler},
	}
}

// ofAdmins is what only the admin may do, and what this test does not.
func ofAdmins() []string {
	var all []string
	for _, call := range []string{"CREATE", "UPDATE", "DELETE", "PURGE", "RESTORE", "SNAPSHOT", "MSG.DELETE"} {
		for _, stream := range []string{events.StreamActions, events.StreamEvents, events.StreamResults, "KV_" + events.BucketConnections, "MINE"} {
			all = append(all, "$JS.API.STREAM."+call+"."+stream)
		}
	}
	return append(all,
		"$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.KV_"+bus.BucketUsers,
		"$JS.API.STREAM.CREATE."+events.StreamLater, "$JS.API.STREAM.DELETE."+events.StreamLater,
		"$JS.API.CONSUMER.DELETE.PLUGFN_ACTIONS.executor", "$JS.API.CONSUMER.DELETE.PLUGFN_LATER.mover",
		"$JS.API.CONSUMER.PAUSE.PLUGFN_ACTIONS.executor", "$JS.API.CONSUMER.RESET.PLUGFN_ACTIONS.executor",
		"$JS.API.CONSUMER.DELETE.PLUGFN_EVENTS.app", "$SYS.REQ.SERVER.PING",
	)
}

// mayBeHeard is who may subscribe to what.
func mayBeHeard() map[string][]bus.Role {
	all := map[string][]bus.Role{
		">":                           {},
		"*":                           {},
		"*.>":                         {},
		"plugfn.>":                    {},
		"plugfn.*.auth.token":         {},
		"plugfn.svc.>":                {},
		"plugfn.svc.auth.token":       {auth},
		"plugfn.svc.auth.webhooks":    {auth},
		"plugfn.call.>":               {admin, executor},
		"plugfn.action.>":             {admin},
		"plugfn.event.u1.>":           {admin},
		"plugfn.result.>":             {admin},
		"plugfn.connection.>":         {admin},
		"$KV.>":                       {admin},
		"$JS.>":                       {},
		"plugfn.svc.ingress.rejected": {ingress},

		"plugfn.svc.executor.cancel.>":   {executor},
		"plugfn.svc.executor.resolve.>":  {executor},
		"plugfn.svc.auth.endpoints":      {auth},
		"plugfn.svc.auth.endpoints.seen": {auth},

		"plugfn.svc.scheduler.schedules.>": {scheduler},
		"plugfn.svc.scheduler.runs.>":      {scheduler},

		"$SRV.PING":           {admin, ingress, executor, auth, scheduler},
		"_INBOX.>":            {admin},
		"_R_.>":               {},
		"_PLUGFN_INBOX.>":     {},
		"_PLUGFN_INBOX.*.>":   {},
		"_PLUGFN_INBOX.*.*.*": {},
	}
	for _, role := range bus.Roles() { // nobody but the role itself hears the replies to it
		all["_PLUGFN_INBOX."+string(role)+".a.*"] = []bus.Role{role}
	}
	return all
}

func TestWhatRolesMayDo(t *testing.T) {
	dir := t.TempDir()
	b := newClosed(t, bustest.Dir(dir))
	checkRoles(t, b.ClientURL(), filepath.Join(dir, "nkeys"))
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// checkRoles tries everything in each role.
func checkRoles(t *testing.T, url, keys string) {
	t.Helper()
	for _, role := range bus.Roles() {
		conn := dial(t, url, seedOf(t, keys, role))
		for subject, roles := range mayBePublished() {
			if got, want := mayPublish(t, conn, subject), slices.Contains(roles, role); got != want {
				t.Errorf("%s may publish %s: %v, want %v", role, subject, got, want)
			}
		}
		for subject, roles := range mayBeHeard() {
			if got, want := maySubscribe(t, conn, subject), slices.Contains(roles, role); got != want {
				t.Errorf("%s may subscribe to %s: %v, want %v", role, subject, got, want)
			}
		}
		for _, subject := range ofAdmins() {
			if role != admin && mayPublish(t, conn, subject) {
				t.Errorf("%s may publish %s", role, subject)
			}
		}
	}
}

// TestKeysOfRoles has the keys made once, for nobody else to read.
func TestKeysOfRoles(t *testing.T) {
	dir := t.TempDir()
	bustest.Close(t, newClosed(t, bustest.Dir(dir)))
	first, err := bus.RoleKeys(filepath.Join(dir, "nkeys"))
	if err != nil {
		t.Fatal(err)
	}
	checkMode(t, filepath.Join(dir, "nkeys"), 0o700)
	for _, role := range bus.Roles() {
		checkMode(t, filepath.Join(dir, "nkeys", string(role)+".nk"), 0o600)
	}
	files, err := os.ReadDir(filepath.Join(dir, "nkeys"))
	if err != nil || len(files) != len(bus.Roles()) {
		t.Errorf("%d files, %v", len(files), err)
	}
	bustest.Close(t, newClosed(t, bustest.Dir(dir)))
	again, err := bus.RoleKeys(filepath.Join(dir, "nkeys"))
	if d := cmp.Diff(first, again); d != "" || err != nil {
		t.Errorf("the keys changed: %s, %v", d, err)
	}
}

func checkMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != want {
		t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
	}
}

func TestBrokenKeyOfARole(t *testing.T) {
	for text, name := range map[string]string{"": "empty", "no seed": "text", "SUAWRONG": "cut off", "SAANFVJ6S6UOT7A3JXGOYD7YPGLBZPTTZAUPZBW6LBWVWWXWOLQJHTAKVM": "of an account"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "nkeys"), 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "nkeys", "auth.nk")
			writeFile(t, file, text)
			wantError(t, open(t, bus.Config{Dir: dir, Addr: "-", Secure: true}), file, "remove the file")
		})
	}
}

// TestStrangers has nobody let in without a known key and its signature.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	b := newClosed(t, bustest.Dir(dir))
	stranger, seed := newPair(t)
	keys, err := bus.RoleKeys(filepath.Join(dir, "nkeys"))
	if err != nil {
		t.Fatal(err)
	}
	sign := func([]byte) ([]byte, error) { return make([]byte, 64), nil }
	for name, option := range map[string]nats.Option{
		"nobody":          nats.Name("nobody"),
		"a password":      nats.UserInfo("admin", "admin"),
		"a token":         nats.Token("admin"),
		"an unknown key":  nats.Nkey(stranger, signer(t, seed)),
		"another's key":   nats.Nkey(keys[admin], signer(t, seed)),
		"a bad signature": nats.Nkey(keys[admin], sign),
	} {
		conn, err := nats.Connect(b.ClientURL(), option)
		if err == nil {
			conn.Close()
			t.Errorf("%s was let in", name)
			continue
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownRole(t *testing.T) {
	b := bustest.New(t)
	_, err := b.As(t.Context(), "operator")
	wantError(t, err, `role "operator": must be admin, ingress, executor, auth, scheduler`)
	wantError(t, open(t, bus.Config{Dir: t.TempDir(), Addr: "-", Role: executor}), "role executor", "opened as admin")
	wantError(t, open(t, bus.Config{URL: "127.0.0.1:1", Secure: true}), "PLUGFN_NATS_URL stands in its own configuration")
	wantError(t, open(t, bus.Config{URL: "127.0.0.1:1", Role: "x"}), `role "x"`)
}

func TestAccess(t *testing.T) {
	open, closed := bustest.New(t, bustest.Listen), newClosed(t)
	outside := serve(t, optionsOfPassword())
	for want, b := range map[string]*bus.Bus{
		"open: to this process only":                          bustest.New(t),
		"open: every program on this machine may do anything": open,
		"open: whoever reaches this machine may do anything":  bustest.New(t, func(c *bus.Config) { c.Addr = "0.0.0.0:0" }),
		"open: whoever reaches the server may do anything":    bustest.New(t, func(c *bus.Config) { c.URL = open.ClientURL() }),
		"closed: a key for each role, and 0 users":            closed,
		"closed: the server's own configuration says who may do what": bustest.New(t, func(c *bus.Config) {
			c.URL = fmt.Sprintf("nats://me:sesame@%s", outside.Addr())
		}),
	} {
		if got := b.Access(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	addUser(t, closed, "u1")
	if got, want := closed.Access(), "closed: a key for each role, and 1 user"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
