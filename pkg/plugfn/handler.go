package plugfn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// HandlerConfig says how the HTTP side of PlugFn is part of an application.
type HandlerConfig struct {
	// User tells which user a request is from: who is signed in to the
	// application. An error, or no user, is answered with 401. Needed.
	User func(*http.Request) (string, error)
	// Prefix is the path that the handler is mounted under, such as /plugfn;
	// empty where the router takes it off.
	Prefix string
	// AllowTokens lets a browser connect an account with a credential that it
	// sends (POST /v1/connections); without it accounts are connected at the
	// provider, or on the page of a link.
	AllowTokens bool
}

// maxForwarded bounds, in bytes, the body of a request of a user.
const maxForwarded = 64 << 10

// Handler is the HTTP side of PlugFn for the application's own router: what
// providers and browsers are sent to, and a part of the API in which each user
// sees what is his. Set PLUGFN_PUBLIC_URL to where it is mounted. It needs the
// API, see [WithAPI].
//
//	/webhooks/…  /oauth/callback/…  /connect/…    as they are, from anybody
//	GET    /v1/providers
//	GET    /v1/connections           GET PATCH DELETE /v1/connections/{id}
//	POST   /v1/connections/start     POST /v1/connections/{id}/{refresh,test}
//	POST   /v1/connect-sessions      GET  /v1/flows/{id}
//	GET    /v1/schedules  POST …     GET PATCH DELETE /v1/schedules/{id}  and below
//	GET    /v1/runs                  GET  /v1/runs/{id}  /v1/runs/{id}/logs
//	POST   /v1/runs/{id}/{cancel,retry,replay}
//	GET    /v1/workflows             GET  /v1/workflows/{name}  POST …/{enable,disable}
//	GET    /v1/metrics
//
// Below /v1 the user of each request is the one that User tells, whatever the
// request says. The key of the API never leaves the application, and browsers of
// other sites are refused what changes anything.
func (c *Client) Handler(cfg HandlerConfig) (http.Handler, error) {
	if cfg.User == nil {
		return nil, errors.New("plugfn: HandlerConfig.User is missing: it tells whose request it is")
	}
	if cfg.Prefix != "" && (cfg.Prefix[0] != '/' || strings.HasSuffix(cfg.Prefix, "/")) {
		return nil, fmt.Errorf("plugfn: HandlerConfig.Prefix %q: must begin with a slash and end without one", cfg.Prefix)
	}
	if c.api == "" {
		return nil, ErrNoAPI
	}
	target, err := url.Parse(c.api)
	if err != nil {
		return nil, fmt.Errorf("plugfn: WithAPI: %w", err)
	}
	h := &handler{client: c, cfg: cfg}
	h.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // links and cookies are for where the browser is
			r.SetXForwarded()
		},
		Transport:    c.http.Transport,
		ErrorHandler: h.unreachable,
	}
	mux := http.NewServeMux()
	h.mount(mux)
	return http.StripPrefix(cfg.Prefix, mux), nil
}

// handler passes on what it is asked.
type handler struct {
	client *Client
	cfg    HandlerConfig
	proxy  *httputil.ReverseProxy
}

// owners says where the API reads whose something is.
type owners int

const (
	inQuery owners = iota
	inBody
)

func (h *handler) mount(mux *http.ServeMux) {
	for _, open := range []string{"/webhooks/", "/oauth/callback/", "/connect/"} {
		mux.Handle(open, h.proxy)
	}
	guarded := http.NewServeMux()
	for pattern, where := range map[string]owners{
		"GET /v1/connections": inQuery, "POST /v1/connections/start": inBody, "POST /v1/connections/device": inBody,
		"GET /v1/connections/{id}": inQuery, "PATCH /v1/connections/{id}": inQuery, "DELETE /v1/connections/{id}": inQuery,
		"POST /v1/connections/{id}/refresh": inQuery, "POST /v1/connections/{id}/test": inQuery,
		"POST /v1/connect-sessions": inBody, "GET /v1/flows/{id}": inQuery, "GET /v1/metrics": inQuery,
		"GET /v1/schedules": inQuery, "POST /v1/schedules": inBody, "GET /v1/schedules/{id}": inQuery, "PATCH /v1/schedules/{id}": inQuery,
		"DELETE /v1/schedules/{id}": inQuery, "GET /v1/schedules/{id}/next": inQuery, "POST /v1/schedules/{id}/{verb}": inQuery,
		"GET /v1/runs": inQuery, "GET /v1/runs/{id}": inQuery, "GET /v1/runs/{id}/logs": inQuery,
		"POST /v1/runs/{id}/cancel": inQuery, "POST /v1/runs/{id}/retry": inQuery, "POST /v1/runs/{id}/replay": inQuery,
		"GET /v1/workflows": inQuery, "GET /v1/workflows/{name}": inQuery,
		"POST /v1/workflows/{name}/enable": inQuery, "POST /v1/workflows/{name}/disable": inQuery,
	} {
		guarded.Handle(pattern, h.forUser(where))
	}
	if h.cfg.AllowTokens {
		guarded.Handle("POST /v1/connections", h.forUser(inBody))
		guarded.Handle("POST /v1/connections/{id}/reconnect", h.forUser(inQuery))
	}
	guarded.HandleFunc("GET /v1/providers", h.providers)
	guarded.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "", "there is no such route for users: "+r.Method+" "+r.URL.Path)
	})
	mux.Handle("/v1/", http.NewCrossOriginProtection().Handler(guarded))
}

// forUser passes a request on as one about its user alone.
func (h *handler) forUser(where owners) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, ok := h.user(w, r)
		if !ok {
			return
		}
		out := r.Clone(r.Context())
		query := out.URL.Query()
		query.Del("user_id")
		switch where {
		case inQuery:
			query.Set("user_id", user)
			out.Body = http.MaxBytesReader(w, r.Body, maxForwarded)
		case inBody:
			body, problem := bodyOf(w, r, user)
			if problem != "" {
				refuse(w, http.StatusUnprocessableEntity, events.CodeInvalidParams, problem)
				return
			}
			out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		out.URL.RawQuery = query.Encode()
		out.Header.Del("Cookie") // the application's own
		out.Header.Set("Authorization", "Bearer "+h.client.key)
		h.proxy.ServeHTTP(w, out)
	}
}

// user answers for who is nobody.
func (h *handler) user(w http.ResponseWriter, r *http.Request) (string, bool) {
	w.Header().Set("Cache-Control", "no-store")
	user, err := h.cfg.User(r)
	if err != nil || user == "" {
		refuse(w, http.StatusUnauthorized, "", "nobody is signed in")
		return "", false
	}
	return user, true
}

// bodyOf is the JSON object of a request with its user put in.
func bodyOf(w http.ResponseWriter, r *http.Request, user string) (body []byte, problem string) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForwarded))
	if err != nil {
		return nil, "the body cannot be read, or is longer than 64 KiB"
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil || object == nil {
		return nil, "the body must be a JSON object"
	}
	for name := range object {
		if strings.EqualFold(name, "user_id") {
			delete(object, name)
		}
	}
	if object["user_id"], err = json.Marshal(user); err != nil {
		return nil, "the user cannot be written as JSON"
	}
	body, err = json.Marshal(object)
	if err != nil {
		return nil, "the body must be a JSON object"
	}
	return body, ""
}

func (h *handler) providers(w http.ResponseWriter, r *http.Request) {
	if _, ok := h.user(w, r); !ok {
		return
	}
	all, err := h.client.Providers(r.Context())
	if err != nil {
		h.unreachable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"providers": all}) // the client went away
}

func (h *handler) unreachable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		h.client.log.Warn().Err(err).Str("path", r.URL.Path).Msg("PlugFn not reached")
	}
	w.Header().Set("Retry-After", "5")
	refuse(w, http.StatusServiceUnavailable, events.CodeInternal, "PlugFn cannot be reached; try again later")
}

// refuse answers with a problem (RFC 9457), as the API does.
func refuse(w http.ResponseWriter, status int, code Code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the client went away
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   Code   `json:"code,omitempty"`
	}{http.StatusText(status), status, detail, code})
}
