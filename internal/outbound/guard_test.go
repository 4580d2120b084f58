package outbound_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get asks for a URL, closes the answer and returns its status.
func get(t *testing.T, client *http.Client, target string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// Whatever an address is written like, it is not called unless it is public.
func TestAddressesThatAreNotPublic(t *testing.T) {
	hosts := map[string]string{
		"loopback":                   "127.0.0.1",
		"all of 127/8":               "127.8.8.8",
		"loopback, name":             "localhost",
		"loopback, IPv6":             "[::1]",
		"loopback, mapped":           "[::ffff:127.0.0.1]",
		"loopback, mapped, hex":      "[::ffff:7f00:1]",
		"unspecified":                "0.0.0.0",
		"unspecified, IPv6":          "[::]",
		"private 10/8":               "10.1.2.3",
		"private 172.16/12":          "172.16.0.1",
		"private 192.168/16":         "192.168.1.1",
		"unique local":               "[fd00::1]",
		"link-local":                 "169.254.1.1",
		"link-local, IPv6":           "[fe80::1]",
		"metadata":                   "169.254.169.254",
		"metadata, IPv6":             "[fd00:ec2::254]",
		"carriers":                   "100.64.0.1",
		"NAT64":                      "[64:ff9b::7f00:1]",
		"6to4":                       "[2002:7f00:1::1]",
		"Teredo":                     "[2001::1]",
		"benchmark":                  "198.18.0.1",
		"documentation":              "203.0.113.7",
		"multicast":                  "224.0.0.1",
		"multicast, IPv6":            "[ff02::1]",
		"broadcast":                  "255.255.255.255",
		"decimal":                    "2130706433",
		"hexadecimal":                "0x7f000001",
		"hexadecimal, dotted":        "0x7f.0.0.0x1",
		"octal":                      "0177.0.0.1",
		"short":                      "127.1",
		"short, with the root's dot": "127.1.",
	}
	client := outbound.New(outbound.Config{})
	defer client.CloseIdleConnections()
	for name, host := range hosts {
		for _, port := range []string{"", ":22", ":8443"} {
			_, err := get(t, client, "https://"+host+port+"/latest/meta-data")
			var refused *events.Error
			if !errors.As(err, &refused) || refused.Code != events.CodeProviderRejected || refused.Retryable {
				t.Errorf("%s: https://%s%s gives %v, want it refused", name, host, port, err)
			}
		}
	}
}

func TestRefusalSaysWhatToDo(t *testing.T) {
	client := outbound.New(outbound.Config{})
	for target, want := range map[string]string{
		"https://127.0.0.1/":         "PLUGFN_ALLOW_PRIVATE_CIDRS",
		"http://api.example.com/":    "only https",
		"https://u:p@example.com/":   "a user or a password",
		"https://2130706433/":        "write an address with dots or colons",
		"file://localhost/etc/hosts": "only https",
	} {
		_, err := get(t, client, target)
		var refused *events.Error
		if !errors.As(err, &refused) || !strings.Contains(refused.Message, want) {
			t.Errorf("%s gives %v, want %q in it", target, err, want)
		}
		if refused != nil && strings.Contains(refused.Message, ":p@") {
			t.Errorf("%s: the message quotes the password", target)
		}
	}
}

// A public name that stands for an address of this computer when it is dialled
// is refused all the same: what localhost stands for is looked up only then.
func TestNameIsJudgedByItsAddress(t *testing.T) {
	var hits atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	target := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	client := outbound.New(outbound.Config{TLS: tlsOf(server)})
	if _, err := get(t, client, target); err == nil {
		t.Error("the guard let localhost through")
	}
	if hits.Load() != 0 {
		t.Error("the server was called")
	}
}

func TestAllowedNetworks(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	for cidr, allowed := range map[string]bool{
		"127.0.0.0/8": true, "127.0.0.1/32": true, "::ffff:127.0.0.0/104": true, "10.0.0.0/8": false, "::1/128": false, "127.0.0.2/32": false,
	} {
		client := outbound.New(outbound.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix(cidr)}, TLS: tlsOf(server)})
		status, err := get(t, client, server.URL)
		if allowed != (err == nil && status == http.StatusOK) {
			t.Errorf("%s: status %d, %v; want it allowed: %t", cidr, status, err, allowed)
		}
		client.CloseIdleConnections()
	}
}

// The operator's own base URLs are called wherever they are, and nothing beside
// them: neither another port of the same computer nor another spelling of it.
func TestTrustedOrigins(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer other.Close()
	client := outbound.New(outbound.Config{Trusted: []string{server.URL + "/api/v3", "::no url"}})
	defer client.CloseIdleConnections()
	if status, err := get(t, client, server.URL+"/api/v3/user"); err != nil || status != http.StatusOK {
		t.Errorf("trusted: %d, %v", status, err)
	}
	for _, target := range []string{other.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), strings.Replace(server.URL, "http:", "https:", 1)} {
		if _, err := get(t, client, target); err == nil {
			t.Errorf("%s is called", target)
		}
	}
}
