package providers

import (
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"github.com/plugfn/plugfn/pkg/events"
)

var (
	packName   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	idName     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	semver     = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)
	prefixName = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*$`)
	eventName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*$`)
	dottedName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$`)
)

const (
	maxName     = 100 // bytes of the name of an action or an event
	maxTimeout  = 10 * time.Minute
	maxResponse = Size(100 << 20)
)

// check reports what no single field shows. It also compiles what takes
// several fields.
func (p *Pack) check(folder string, r report) {
	if p.APIVersion != APIVersion {
		r("apiVersion", "must be %s", APIVersion)
	}
	if p.Kind != "Provider" {
		r("kind", "must be Provider")
	}
	switch {
	case !packName.MatchString(p.Name):
		r("name", "must be a-z, then up to 39 of a-z, 0-9 and -")
	case p.Name != folder:
		r("name", "must be that of the folder, %s", folder)
	}
	if !semver.MatchString(p.Version) {
		r("version", "must be a semantic version such as 1.0.0")
	}
	if p.Display.Name == "" {
		r("display.name", "is missing")
	}
	checkLink("display.docs", p.Display.Docs, r)
	if len(p.Actions) > 0 || len(p.Auth) > 0 {
		p.checkAuth(r)
	}
	if len(p.Actions) > 0 || p.HTTP.BaseURL != "" || p.asksBack() {
		p.HTTP.check(r)
		p.checkSite(r)
	}
	if len(p.Actions) == 0 && p.Webhooks == nil {
		r("actions", "is missing: a provider has actions, webhooks or both")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		checkName("actions."+name, name, r)
		p.Actions[name].check("actions."+name, r)
	}
	p.checkData(r)
	p.checkLimits(r)
	p.checkEvents(r)
}

// asksBack tells whether the provider is asked about its deliveries.
func (p *Pack) asksBack() bool {
	return p.Webhooks != nil && slices.ContainsFunc(p.Webhooks.Verifiers, func(v *Verifier) bool { return v.Scheme == "callback" })
}

func (p *Pack) checkEvents(r report) {
	if p.Webhooks != nil {
		p.Webhooks.check(r)
		if p.Webhooks.Redeliver != nil {
			p.Webhooks.Redeliver.check(p, r)
		}
	}
	if (p.Webhooks != nil || len(p.Triggers) > 0) && !prefixName.MatchString(p.EventPrefix) {
		r("event_prefix", "must be a reverse domain such as com.github")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Triggers)) {
		if !eventName.MatchString(name) || len(name) > maxName {
			r("triggers."+name, "must be names of letters, digits, _ and -, joined by dots, at most %d bytes", maxName)
		}
		t := p.Triggers[name]
		checkLink("triggers."+name+".docs", t.Docs, r)
		switch {
		case t.Poll != nil:
			t.Poll.check("triggers."+name, p, r)
		case p.Webhooks == nil:
			r("triggers."+name, "needs webhooks, or poll: to look for it")
		}
	}
}

func (h *HTTP) check(r report) {
	base := h.BaseURL
	var err error
	if h.site, err = parseSite(base); err != nil {
		r("http.base_url", "%v", err)
		return
	}
	if h.site != nil {
		base = h.site.at("x")
	}
	checkBaseURL(base, r)
	for i, host := range h.AllowHosts {
		if !isHost(host) {
			r(item("http.allow_hosts", i), "must be the name of a host such as files.example.com, with :port where it is not 443")
		}
	}
	checkHeaderNames("http.headers", maps.Keys(h.Headers), r)
	for name, value := range h.Headers {
		if !isFieldValue(value) {
			r("http.headers."+name, "must not hold control characters")
		}
	}
	for i, class := range h.Errors {
		class.check(item("http.errors", i), r)
	}
	checkSource("http.error.message", h.Error.Message, r)
	checkSource("http.error.code", h.Error.Code, r)
	if !h.RequestID.IsZero() && h.RequestID.kind != sourceHeader {
		r("http.request_id", "must be header:NAME")
	}
	if h.MaxResponse > maxResponse {
		r("http.max_response", "must be at most %d bytes", maxResponse)
	}
	checkTimeout("http.timeout", h.Timeout, r)
}

func (c *ErrorClass) check(path string, r report) {
	if c.When.IsZero() {
		r(path+".when", "is missing")
	}
	known := slices.Values(codeNames())
	if !slices.Contains(codeNames(), c.Code) {
		r(path+".code", "must be an error code%s; there are %s", nearest.Hint(c.Code, known), strings.Join(codeNames(), ", "))
	}
	checkSources(path+".retry_after", c.RetryAfter, r)
	if c.NothingDone && c.Code != string(events.CodeProviderUnavailable) {
		r(path+".nothing_done", "goes with code: %s; the others say so by themselves", events.CodeProviderUnavailable)
	}
	checkSource(path+".needs", c.Needs, r)
	if !c.Needs.IsZero() && c.Code != string(events.CodeScopeRequired) {
		r(path+".needs", "goes with code: %s", events.CodeScopeRequired)
	}
}

// codeNames are the codes that a response can mean.
func codeNames() []string {
	return []string{
		string(events.CodeInvalidParams), string(events.CodeNeedsReauth), string(events.CodeScopeRequired),
		string(events.CodeRateLimited), string(events.CodeProviderRejected), string(events.CodeProviderUnavailable),
	}
}

func checkBaseURL(base string, r report) {
	const path = "http.base_url"
	u, err := parseBase(base)
	switch {
	case base == "":
		r(path, "is missing")
	case err != nil:
		r(path, "%v", err)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		r(path, "must begin with https://")
	case strings.HasSuffix(base, "/"):
		r(path, "must not end with a slash")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkSource refuses sources that are not in a response.
func checkSource(path string, s Source, r report) {
	if !s.IsZero() && (s.kind != sourceHeader && s.kind != sourceJSON || s.optional) {
		r(path, "must be header:NAME or json:/pointer")
	}
}

func checkTimeout(path string, d time.Duration, r report) {
	if d > maxTimeout {
		r(path, "must be at most %s", maxTimeout)
	}
}

func checkLink(path, link string, r report) {
	if u, err := url.Parse(link); link != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		r(path, "must be a link that begins with https://")
	}
}

// checkName judges the dotted name of an action.
func checkName(path, name string, r report) {
	if !dottedName.MatchString(name) || len(name) > maxName {
		r(path, "must be names of letters, digits and _, joined by dots, at most %d bytes", maxName)
	}
}
