package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// ask is one request to an endpoint of an auth block.
type ask struct {
	op     string
	auth   *providers.Auth
	fields fields
	device bool // pending is an answer
	ownApp bool // the app is that of this connection alone

	method     string
	url        providers.Address
	encoding   providers.Encoding
	client     providers.ClientAuth
	params     url.Values                    // of the protocol
	own        map[string]providers.Template // parameters of the pack, which win
	headers    map[string]providers.Template
	namesItsID bool // the client's id is among the parameters without authentication, too
}

// fields is what the templates of an auth block are filled with.
type fields struct {
	app       providers.App
	cred      providers.Credential
	refresh   providers.Secret
	scopes    string
	assertion providers.Secret
	nonce     string
	sent      []providers.Secret // more secrets that are sent: a code, a verifier
}

// value finds a field; one that is empty is absent.
func (f fields) value(field string) (string, bool) {
	text := f.plain(field)
	return text, text != ""
}

func (f fields) plain(field string) string {
	switch field {
	case "scopes":
		return f.scopes
	case "nonce":
		return f.nonce
	case "assertion":
		return reveal(f.assertion)
	case "app.client_id":
		return f.app.ClientID
	case "app.client_secret":
		return reveal(f.app.ClientSecret)
	case "app.private_key":
		return reveal(f.app.PrivateKey)
	case "credential.refresh_token":
		return reveal(f.refresh)
	case "credential.grant":
		if !f.refresh.IsZero() {
			return reveal(f.refresh)
		}
		return reveal(f.cred.Token)
	}
	name, ok := strings.CutPrefix(field, "credential.")
	if !ok {
		return ""
	}
	s, _ := f.cred.Field(name)
	return reveal(s)
}

// secrets lists what must not come back in an error.
func (f fields) secrets() []providers.Secret {
	all := append([]providers.Secret{f.app.ClientSecret, f.app.PrivateKey, f.cred.Token, f.refresh, f.assertion}, f.sent...)
	for _, s := range f.cred.Fields {
		all = append(all, s)
	}
	return all
}

func reveal(s providers.Secret) string { return string(s.Reveal()) }

// do asks and reads the answer.
func (c *Client) do(ctx context.Context, k ask) (answer, *Failure) {
	req, failure := k.request(ctx)
	if failure != nil {
		return answer{}, failure
	}
	return c.send(ctx, k.op, req)
}

// request builds the HTTP request.
func (k ask) request(ctx context.Context) (*http.Request, *Failure) {
	u, err := k.auth.Resolve(k.url, k.fields.app, k.fields.value)
	if err != nil {
		return nil, k.unbuilt(err)
	}
	header := http.Header{"Accept": {"application/json"}, "User-Agent": {"plugfn"}}
	if k.url.IsBelowBase() {
		for name, value := range k.auth.Pack().HTTP.Headers {
			header.Set(name, value)
		}
	}
	params := k.merged()
	if failure := k.authenticate(params, header); failure != nil {
		return nil, failure
	}
	for name, template := range k.headers {
		if text, ok := template.Expand(k.fields.value); ok {
			header.Set(name, text)
		}
	}
	body := k.body(u, params, header)
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, unsent(k.op, Misconfigured, "the URL cannot be used")
	}
	req.Header = header
	return req, nil
}

// unbuilt says why there is no URL.
func (k ask) unbuilt(err error) *Failure {
	var wrong *events.Error
	if errors.As(err, &wrong) {
		return unsent(k.op, blame(k.url.String()), "the URL cannot be built: "+wrong.Message)
	}
	return unsent(k.op, Misconfigured, "the app's base URL "+err.Error())
}

// blame is the class of a template that cannot be filled: what one connection
// gave is no reason to stop the app.
func blame(template string) Class {
	if strings.Contains(template, "credential.") {
		return Dead
	}
	return Misconfigured
}

// merged is what the protocol and the pack have to say.
func (k ask) merged() url.Values {
	params := url.Values{}
	for name, values := range k.params {
		params[name] = values
	}
	for name, template := range k.own {
		if text, ok := template.Expand(k.fields.value); ok {
			params.Set(name, text)
		}
	}
	return params
}

// authenticate proves who the client is. An app without a secret is a public
// client, which only says its id.
func (k ask) authenticate(params url.Values, header http.Header) *Failure {
	app := k.fields.app
	public := app.ClientSecret.IsZero()
	if k.client == providers.ClientAuthNone && !k.namesItsID {
		return nil
	}
	if app.ClientID == "" {
		return unsent(k.op, Misconfigured, "the app has no client id; set it with plugfn app set "+k.auth.Pack().Name)
	}
	switch {
	case k.client == providers.ClientAuthBasic && !public:
		// RFC 6749, section 2.3.1: both are form-encoded first.
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(app.ClientID), url.QueryEscape(reveal(app.ClientSecret)))
	case k.client == providers.ClientAuthPost && !public:
		setDefault(params, "client_secret", reveal(app.ClientSecret))
		fallthrough
	default:
		setDefault(params, "client_id", app.ClientID)
	}
	return nil
}

func setDefault(params url.Values, name, value string) {
	if !params.Has(name) {
		params.Set(name, value)
	}
}

// body writes the parameters: into the URL of a GET, as a form or as JSON.
func (k ask) body(u *url.URL, params url.Values, header http.Header) io.Reader {
	switch {
	case k.method == http.MethodGet:
		u.RawQuery = params.Encode()
		return nil
	case k.encoding == providers.EncodingJSON:
		object := make(map[string]string, len(params))
		for name := range params {
			object[name] = params.Get(name)
		}
		raw, _ := json.Marshal(object) // of texts: cannot fail
		header.Set("Content-Type", "application/json")
		return bytes.NewReader(raw)
	default:
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return strings.NewReader(params.Encode())
	}
}
