package settings

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
)

// The functions below make the set function of a row. Their errors say what is
// allowed; whoever calls them says where the value stands.

func text(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		*field(s) = v
		return nil
	}
}

func secret(field func(*Settings) *providers.Secret) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		*field(s) = providers.NewSecret([]byte(v))
		return nil
	}
}

func choice(field func(*Settings) *string, allowed ...string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
		}
		*field(s) = v
		return nil
	}
}

// address takes host:port, or none where that means something.
func address(field func(*Settings) *string, none string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		if v != none {
			_, port, err := net.SplitHostPort(v)
			if err != nil {
				return errors.New("must be host:port, such as 127.0.0.1:8484")
			}
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return errors.New("the port must be a number from 0 to 65535; 0 takes any free one")
			}
		}
		*field(s) = v
		return nil
	}
}

func link(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		u, err := url.Parse(v)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return errors.New("must be a URL such as http://127.0.0.1:8484")
		}
		*field(s) = strings.TrimRight(v, "/")
		return nil
	}
}

// list takes texts that are separated by commas.
func list(field func(*Settings) *[]string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*field(s) = append(*field(s), item)
			}
		}
		return nil
	}
}

// networks takes CIDRs, and addresses that stand for themselves alone.
func networks(field func(*Settings) *[]netip.Prefix) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		for item := range strings.SplitSeq(v, ",") {
			item = strings.TrimSpace(item)
			prefix, err := netip.ParsePrefix(item)
			if addr, aerr := netip.ParseAddr(item); aerr == nil && addr.Zone() == "" {
				prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
			}
			if err != nil {
				return errors.New("must be networks such as 10.0.0.0/8 or fd00::/8, separated by commas")
			}
			*field(s) = append(*field(s), prefix.Masked())
		}
		return nil
	}
}

func yesNo(field func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		yes, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("must be true or false")
		}
		*field(s) = yes
		return nil
	}
}

func count(field func(*Settings) *int) func(*Settings, string) error {
	const most = 1_000_000
	return func(s *Settings, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("must be a number from 1 to %d", most)
		}
		*field(s) = n
		return nil
	}
}

func duration(field func(*Settings) *time.Duration) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 || d > time.Hour {
			return errors.New("must be a duration such as 30s, at most 1h")
		}
		*field(s) = d
		return nil
	}
}

// healEvery reads how often to look for failed deliveries, zero for never.
func healEvery(s *Settings, v string) error {
	if v == "off" {
		s.HealEvery = 0
		return nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 10*time.Second || d > 24*time.Hour {
		return errors.New("must be off, or a duration from 10s to 24h")
	}
	s.HealEvery = d
	return nil
}

func size(field func(*Settings) *int64) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		n, ok := parseSize(v)
		if !ok || n < 1<<20 {
			return errors.New("must be a size such as 512MiB or 2GiB, at least 1MiB")
		}
		*field(s) = n
		return nil
	}
}

// parseSize reads a number of bytes, or of KiB, MiB, GiB or TiB.
func parseSize(v string) (int64, bool) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(v, unit); ok {
			v, shift = strings.TrimSpace(rest), 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, false
	}
	return n << shift, true
}

func durability(s *Settings, v string) error {
	d, err := bus.ParseDurability(v)
	if err != nil {
		return errors.New("must be dev, single, ha or strict")
	}
	s.Durability = d
	return nil
}

func logLevel(s *Settings, v string) error {
	if !slices.Contains([]string{"trace", "debug", "info", "warn", "error"}, v) {
		return errors.New("must be trace, debug, info, warn or error")
	}
	level, err := zerolog.ParseLevel(v)
	s.LogLevel = level
	return err
}

// minAPIKey keeps a key out of reach of guessing.
const minAPIKey = 16

func apiKey(s *Settings, v string) error {
	if len(v) < minAPIKey || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("must have at least %d characters, all of them printable ASCII without spaces", minAPIKey)
	}
	s.APIKey = providers.NewSecret([]byte(v))
	return nil
}
