package providers

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Network is a range of addresses, written as 192.0.2.0/24.
type Network struct{ prefix netip.Prefix }

// UnmarshalYAML reads the written form.
func (n *Network) UnmarshalYAML(node *yaml.Node) error {
	prefix, err := netip.ParsePrefix(node.Value)
	if err != nil || prefix != prefix.Masked() {
		return atLine(node, "must be a network such as 192.0.2.0/24, with no bit set behind its prefix")
	}
	if least := leastBits(prefix.Addr()); prefix.Bits() < least {
		return atLine(node, "must be a network of one sender, with a prefix of at least %d bits", least)
	}
	n.prefix = prefix
	return nil
}

// leastBits is the shortest prefix of a network that somebody may have to
// himself.
func leastBits(addr netip.Addr) int {
	if addr.Is4() {
		return 8
	}
	return 16
}

// inNetworks tells whether an address is in one of the networks.
func inNetworks(all []Network, addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, n := range all {
		if n.prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// HostPattern is a host, or several that differ in some of their labels, each of
// which is a *: sns.*.amazonaws.com. The last two are always written out. A * is
// never storage that anybody can rent, such as s3.
type HostPattern struct{ labels []string }

var hostLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// UnmarshalYAML reads the written form.
func (h *HostPattern) UnmarshalYAML(node *yaml.Node) (err error) {
	if *h, err = parseHostPattern(node.Value); err != nil {
		return atLine(node, "%w", err)
	}
	return nil
}

func parseHostPattern(text string) (HostPattern, error) {
	labels := strings.Split(text, ".")
	ok := len(labels) >= 2 && len(text) <= 253
	for i, l := range labels {
		wild := l == "*" && i < len(labels)-2
		ok = ok && (wild || hostLabel.MatchString(l))
	}
	if !ok {
		return HostPattern{}, errors.New("must be a host in lower case such as certs.example.com or sns.*.amazonaws.com, where a * is one label and none of the last two")
	}
	return HostPattern{labels: labels}, nil
}

// String returns the pattern as it is written.
func (h HostPattern) String() string { return strings.Join(h.labels, ".") }

// covers tells whether all hosts that another pattern means are meant.
func (h HostPattern) covers(other HostPattern) bool {
	if len(other.labels) != len(h.labels) {
		return false
	}
	for i, l := range other.labels {
		if h.labels[i] != l && (h.labels[i] != "*" || isStorage(l)) {
			return false
		}
	}
	return true
}

// matches tells whether host is one of those that are meant.
func (h HostPattern) matches(host string) bool {
	labels := strings.Split(host, ".")
	if len(labels) != len(h.labels) {
		return false
	}
	for i, l := range labels {
		if !hostLabel.MatchString(l) || h.labels[i] != l && (h.labels[i] != "*" || isStorage(l)) {
			return false
		}
	}
	return true
}

// isStorage tells whether a label is one of Amazon S3, as in s3 or s3-eu-west-1.
// What stands in front of it is a bucket, which anybody may own: a bucket named
// sns must not pass for the service.
func isStorage(label string) bool { return label == "s3" || strings.HasPrefix(label, "s3-") }

// maxURL is the longest address in bytes that is taken from a delivery.
const maxURL = 2 << 10

// allowed tells whether text is a URL that may be called although somebody else
// wrote it: https, one of the hosts as it is, no user, no port, no fragment, and
// a path that means one thing.
func allowed(text string, hosts []HostPattern) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Scheme != "https" || u.User != nil || u.Opaque != "" ||
		u.Fragment != "" || strings.HasSuffix(text, "#") || !strings.HasPrefix(text, "https://"+u.Host+"/") {
		return false
	}
	if checkSegments(u.EscapedPath()) != nil && u.EscapedPath() != "/" {
		return false
	}
	for _, h := range hosts {
		if h.matches(u.Host) {
			return true
		}
	}
	return false
}
