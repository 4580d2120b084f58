package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

const maxSteps = 20

var (
	formTag   = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	inputTag  = regexp.MustCompile(`(?is)<(?:input|button)\b([^>]*)>`)
	attribute = regexp.MustCompile(`(?is)\b([a-z-]+)\s*=\s*"([^"]*)"`)
)

// Authorize plays a user who allows everything: it opens the URL in a browser of
// its own, and returns the redirect URI as the browser would be sent to it.
func (s *Server) Authorize(ctx context.Context, authorizeURL string) (*url.URL, error) {
	return s.browse(ctx, authorizeURL, "allow")
}

// Deny plays a user who allows nothing.
func (s *Server) Deny(ctx context.Context, authorizeURL string) (*url.URL, error) {
	return s.browse(ctx, authorizeURL, "deny")
}

func (s *Server) browse(ctx context.Context, start, decision string) (*url.URL, error) {
	u, err := url.Parse(start)
	if err != nil {
		return nil, fmt.Errorf("reading the URL: %w", err)
	}
	return Browse(ctx, start, u.Query().Get("redirect_uri"), map[string]string{"decision": decision})
}

// Browse plays a browser with cookies and without JavaScript. It begins at start,
// follows redirects, fills in the first form of each page with answers by name
// (what is not among them stays as it is) and submits it. It returns the first
// URL that begins with until, without opening it.
func Browse(ctx context.Context, start, until string, answers map[string]string) (*url.URL, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, start, nil)
	for range maxSteps {
		if err != nil {
			return nil, err
		}
		if until != "" && strings.HasPrefix(req.URL.String(), until) {
			return req.URL, nil
		}
		req, err = step(ctx, browser, req, answers)
	}
	return nil, errors.New("the pages do not come to an end")
}

// step opens a page and says where it leads.
func step(ctx context.Context, browser *http.Client, req *http.Request, answers map[string]string) (*http.Request, error) {
	resp, err := browser.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if next, err := resp.Location(); err == nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, next.String(), nil)
	}
	found := formTag.FindSubmatch(text)
	if resp.StatusCode != http.StatusOK || found == nil {
		return nil, fmt.Errorf("%s answers %d: %.200s", req.URL.Path, resp.StatusCode, text)
	}
	form := attributes(string(found[1]))
	action, err := req.URL.Parse(form["action"])
	if err != nil {
		return nil, err
	}
	fields := url.Values{}
	for _, input := range inputTag.FindAllStringSubmatch(string(found[2]), -1) {
		if a := attributes(input[1]); a["name"] != "" {
			fields.Set(a["name"], a["value"])
		}
	}
	for name, value := range answers {
		if fields.Has(name) {
			fields.Set(name, value)
		}
	}
	if !strings.EqualFold(form["method"], http.MethodPost) {
		action.RawQuery = fields.Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, action.String(), nil)
	}
	next, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(fields.Encode()))
	if err == nil {
		next.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return next, err
}

func attributes(tag string) map[string]string {
	all := map[string]string{}
	for _, a := range attribute.FindAllStringSubmatch(tag, -1) {
		all[strings.ToLower(a[1])] = html.UnescapeString(a[2])
	}
	return all
}
