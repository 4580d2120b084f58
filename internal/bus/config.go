package bus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

const (
	defaultAddr     = "127.0.0.1:4222"
	defaultName     = "plugfn"
	defaultMaxBytes = 1 << 30

	// maxPayload is the longest message, headers included.
	maxPayload = 1 << 20
)

// Config says which bus to open. The zero value but for Dir is the embedded
// server of one machine.
type Config struct {
	Log zerolog.Logger // zero: no log

	// URL of a NATS server, or several separated by commas. Empty: the server
	// is embedded in this process.
	URL string
	// Credentials is the path of a NATS credentials file, NKey that of an nkey
	// seed, or of a directory with a seed for each role as [RoleKeys] makes
	// them. At most one of them, and only with URL.
	Credentials string
	NKey        string
	// MayBeAway lets Open succeed while nothing answers at URL. The Bus connects
	// by itself once something does, and is of use after [Bus.Settle]. What the
	// server refuses is an error all the same. Zero: Open waits ten seconds for
	// it.
	MayBeAway bool
	// Role is what the server of URL lets this connection do, so that it asks
	// for no more. Zero: RoleAdmin. The embedded server is always opened as
	// admin, see [Bus.As].
	Role Role

	// Secure closes the embedded server: who connects needs a key, of a role or
	// of an application ([Bus.AddUser]). The keys of the roles are made in the
	// directory nkeys of Dir. Zero: whoever reaches the server may do anything.
	Secure bool

	// Addr is where the embedded server listens. Empty: 127.0.0.1:4222; port 0:
	// any free port; "-" or "none": this process only.
	Addr string
	// Dir is the data directory of the embedded server. It is made if it does
	// not exist, and belongs to one process at a time.
	Dir string

	Durability Durability // zero: Single
	// MaxBytes is the size up to which each stream and bucket takes messages;
	// a full one refuses new ones and keeps what it has. 0: 1 GiB.
	MaxBytes int64
	// payload is the longest message that the embedded server takes, headers
	// included. 0: maxPayload.
	payload int32
	// Name tells this process from others in the server's list of connections.
	// Empty: plugfn.
	Name string
}

// checked returns c with its defaults filled in, or an error that names the
// first wrong field.
func (c Config) checked() (Config, error) {
	d, err := ParseDurability(string(c.Durability))
	if err != nil {
		return c, err
	}
	c.Durability = d
	if c.Name == "" {
		c.Name = defaultName
	}
	if c.payload == 0 {
		c.payload = maxPayload
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.MaxBytes < maxPayload {
		return c, fmt.Errorf("MaxBytes %d: must be at least %d, the size of one message", c.MaxBytes, maxPayload)
	}
	if c.Role == "" {
		c.Role = RoleAdmin
	}
	if err := c.Role.check(); err != nil {
		return c, err
	}
	if c.URL == "" {
		return c.checkedEmbedded()
	}
	return c, c.checkRemote()
}

func (c Config) checkedEmbedded() (Config, error) {
	switch {
	case c.Dir == "":
		return c, errors.New("no data directory: the embedded server needs one in Dir")
	case c.Credentials != "" || c.NKey != "":
		return c, errors.New("credentials file or nkey without a server to show them to: name it in PLUGFN_NATS_URL")
	case c.Role != RoleAdmin:
		return c, fmt.Errorf("role %s: the embedded server is opened as %s, and other roles from there", c.Role, RoleAdmin)
	case c.Durability.Replicas() > 1:
		return c, fmt.Errorf("durability %s needs a cluster of three NATS servers: name them in PLUGFN_NATS_URL, or use single", c.Durability)
	}
	if c.Addr == "" {
		c.Addr = defaultAddr
	}
	if !c.listens() {
		return c, nil
	}
	_, _, err := c.hostPort()
	return c, err
}

// listens reports whether the embedded server takes connections from outside
// this process.
func (c Config) listens() bool { return c.Addr != "-" && c.Addr != "none" }

func (c Config) hostPort() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return "", 0, fmt.Errorf("NATS address %q: must be host:port, or - for none (PLUGFN_NATS_ADDR)", c.Addr)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("NATS address %q: the port must be a number from 0 to 65535 (PLUGFN_NATS_ADDR)", c.Addr)
	}
	return host, int(n), nil
}

func (c Config) checkRemote() error {
	if _, err := publicURL(c.URL); err != nil {
		return err
	}
	if c.Secure {
		return errors.New("a secure server is one that is embedded: who may do what on the server of PLUGFN_NATS_URL stands in its own configuration")
	}
	if c.Credentials != "" && c.NKey != "" {
		return errors.New("credentials file and nkey: give one of them")
	}
	for field, file := range map[string]string{"credentials file": c.Credentials, "nkey": c.keyFile()} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return nil
}

// keyFile is the path of the nkey seed to connect with; empty: none.
func (c Config) keyFile() string {
	dir := c.NKey
	if c.Secure {
		dir = c.keyDir()
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return seedFile(dir, c.Role)
	}
	return dir
}

// keyDir is where the keys of the roles on the embedded server are.
func (c Config) keyDir() string { return filepath.Join(c.Dir, "nkeys") }

// publicURL returns the servers of a URL list without user, password or
// token. Its error holds nothing of them either.
func publicURL(list string) (string, error) {
	var public []string
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return "", errors.New("PLUGFN_NATS_URL: must be a URL such as nats://host:4222, or several separated by commas")
		}
		public = append(public, u.Scheme+"://"+u.Host)
	}
	return strings.Join(public, ","), nil
}
