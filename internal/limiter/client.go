package limiter

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Time-outs of the client. A Redis that is frozen costs one of readWait; the
// defaults of go-redis would make that ten seconds for each command.
const (
	dialWait = 250 * time.Millisecond
	readWait = 50 * time.Millisecond
)

// NewRedisClient makes a client for a URL such as redis://user:password@host:6379/0,
// rediss:// for TLS. With ?cluster=true it is one node of a Redis cluster; others
// may be named with &addr=host:port. It does not connect yet; whoever makes it
// closes it. Errors quote nothing of the URL, it may hold a password.
func NewRedisClient(address string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" {
		return nil, errors.New("the Redis URL must be such as redis://host:6379/0 or rediss://user:password@host:6379")
	}
	query := u.Query()
	cluster := query.Get("cluster") == "true"
	query.Del("cluster")
	u.RawQuery = query.Encode()
	if cluster {
		return clusterClient(u.String())
	}
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("the Redis URL: %w", withoutURL(err, address))
	}
	o.ClientName = "plugfn"
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialWait, readWait, readWait, readWait
	o.MaxRetries, o.DialerRetries = -1, 1
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = quiet()
	return redis.NewClient(o), nil
}

func clusterClient(address string) (redis.UniversalClient, error) {
	o, err := redis.ParseClusterURL(address)
	if err != nil {
		return nil, fmt.Errorf("the Redis URL: %w", withoutURL(err, address))
	}
	o.ClientName = "plugfn"
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialWait, readWait, readWait, readWait
	o.MaxRetries, o.DialerRetries = -1, 1
	o.MaxRedirects = 3 // a slot that moves is no failure
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = quiet()
	return redis.NewClusterClient(o), nil
}

// quiet switches maintenance notifications off: they look up names in the DNS
// at the start, and nothing here needs them.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// withoutURL keeps a message that quotes the URL to itself.
func withoutURL(err error, address string) error {
	if u, _ := url.Parse(address); u != nil && u.User != nil {
		if password, _ := u.User.Password(); password != "" && strings.Contains(err.Error(), password) {
			return errors.New("it cannot be read")
		}
	}
	return err
}
