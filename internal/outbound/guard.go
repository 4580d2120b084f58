package outbound

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"

	"github.com/plugfn/plugfn/pkg/events"
)

// control looks at an address before it is dialled, as [net.Dialer].Control.
type control = func(network, address string, _ syscall.RawConn) error

// newGuard refuses every address that is not public: this computer's, private
// and link-local ones, those of cloud metadata, of carriers, of tunnels that
// lead back into IPv4, and whatever else IANA reserves. allowed are let through.
func newGuard(allowed []netip.Prefix) control {
	var v4, v6 []netip.Prefix
	for _, p := range allowed {
		switch {
		case p.Addr().Is4():
			v4 = append(v4, p)
		case p.Addr().Is4In6() && p.Bits() >= 96:
			v4 = append(v4, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96))
		default:
			v6 = append(v6, p)
		}
	}
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
	return guard.Safe
}

// checkTarget refuses what a guarded request must not even look up.
func checkTarget(u *url.URL) error {
	switch {
	case u.User != nil:
		return refuse("a URL with a user or a password in it is not called")
	case u.Scheme != "https":
		return refuse("%s is not called: only https is, but for base URLs that the operator sets", clip(u.Hostname()))
	case isNumber(u.Hostname()):
		return refuse("%s is no name of a host: write an address with dots or colons", clip(u.Hostname()))
	}
	return nil
}

// isNumber reports whether a host ends in a number and is no address: 2130706433,
// 0x7f.1 and 0177.0.0.1 are 127.0.0.1 to some resolvers and nothing to others.
func isNumber(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// explain puts the guard's refusal into words for whoever asked; any other error
// stays as it is.
func explain(err error, host string) error {
	if errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedNetwork) || errors.Is(err, ssrf.ErrInvalidHostPort) {
		return refuse("%s is at an address that is not public, and is not called; the operator may allow its network with PLUGFN_ALLOW_PRIVATE_CIDRS", clip(host))
	}
	return err
}

func refuse(format string, args ...any) error {
	return events.Errorf(events.CodeProviderRejected, format, args...)
}

// clip makes a host fit for a message.
func clip(host string) string {
	const longest = 100
	if len(host) > longest {
		host = host[:longest] + "…"
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, host), "")
}
