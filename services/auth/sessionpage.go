package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

const (
	maxForm     = 128 << 10 // bytes of a posted form
	fieldPrefix = "field_"  // of the inputs of a credential
)

// serveSession answers GET /connect/{session}: what can be connected.
func (f *flows) serveSession(w http.ResponseWriter, r *http.Request) {
	s, fault := f.enter(r)
	if fault == nil {
		var list []choice
		if list, fault = f.choices(r.Context(), s, r.PathValue("session")); fault == nil {
			nonce := f.browser(w, r)
			f.pages.write(w, webPage{name: "connect", status: http.StatusOK, title: "Connect an account", body: struct {
				CSRF      string
				Providers []choice
			}{csrfToken(nonce, s.ID), list}})
			return
		}
	}
	f.pages.write(w, fault.page())
}

// enter returns the session of a request.
func (f *flows) enter(r *http.Request) (*session, *deadEnd) {
	s, err := f.states.session(r.Context(), r.PathValue("session"))
	switch {
	case errors.Is(err, errGone):
		return nil, staleLink()
	case err != nil:
		return nil, f.trouble(err)
	}
	return &s, nil
}

// choice is a provider on the page of a session.
type choice struct {
	Name         string
	Unusable     string // why it cannot be chosen; "": it can
	Flows, Forms []way
}

// way is one way to connect. Addresses are relative: what stands in front of
// our routes is the operator's.
type way struct{ Action, Auth, Name, Label string }

func (f *flows) choices(ctx context.Context, s *session, token string) ([]choice, *deadEnd) {
	var list []choice
	for _, name := range s.Providers {
		c := choice{Name: f.displayName(name)}
		pack, ok := f.providers.Pack(name)
		if ok {
			ways, err := f.waysTo(ctx, pack, s.UserID)
			if err != nil {
				return nil, f.trouble(err)
			}
			c.add(token+"/"+name, ways)
		}
		if len(c.Flows)+len(c.Forms) == 0 {
			c.Unusable = "It cannot be connected now."
		}
		list = append(list, c)
	}
	return list, nil
}

func (c *choice) add(action string, ways []*providers.Auth) {
	for _, auth := range ways {
		if auth.Type == providers.AuthOAuth2 {
			c.Flows = append(c.Flows, way{Action: action, Auth: auth.ID, Name: c.Name})
			continue
		}
		label := "Connect with " + formLabel(auth)
		c.Forms = append(c.Forms, way{Action: action + "?auth=" + url.QueryEscape(auth.ID), Label: label})
	}
}

// formLabel says what a form asks for.
func formLabel(auth *providers.Auth) string {
	var labels []string
	for _, field := range auth.Fields {
		label := []rune(field.Label)
		if len(label) > 1 && unicode.IsLower(label[1]) {
			label[0] = unicode.ToLower(label[0])
		}
		labels = append(labels, string(label))
	}
	return strings.Join(labels, " and ")
}

// serveForm answers GET /connect/{session}/{provider}?auth=: the form for a
// credential that the user has.
func (f *flows) serveForm(w http.ResponseWriter, r *http.Request) {
	s, fault := f.enter(r)
	if fault != nil {
		f.pages.write(w, fault.page())
		return
	}
	pack, auth, fault := f.chosen(r.Context(), s, r, r.URL.Query().Get("auth"))
	switch {
	case fault != nil:
		f.pages.write(w, fault.page())
	case auth.Type == providers.AuthOAuth2: // begins with a button on the page before
		leave(w, "../"+r.PathValue("session"))
	default:
		nonce := f.browser(w, r)
		f.pages.write(w, f.form(r, s, pack, auth, nonce, nil))
	}
}

// chosen returns the provider and the auth that a request of a session names.
func (f *flows) chosen(ctx context.Context, s *session, r *http.Request, wanted string) (*providers.Pack, *providers.Auth, *deadEnd) {
	pack, ok := f.sessionPack(s, r.PathValue("provider"))
	if !ok {
		return nil, nil, badLink()
	}
	ways, err := f.waysTo(ctx, pack, s.UserID)
	if err != nil {
		return nil, nil, f.trouble(err)
	}
	for _, auth := range ways {
		if wanted == "" || auth.ID == wanted {
			return pack, auth, nil
		}
	}
	return nil, nil, badLink()
}

// formField is an input of a form; without a type it takes several lines.
type formField struct{ ID, Label, Help, Type, Value string }

// form is the page that asks for the fields of an auth. After a fault it says so
// and shows again what is no secret.
func (f *flows) form(r *http.Request, s *session, pack *providers.Pack, auth *providers.Auth, nonce string, fault *events.Error) webPage {
	name := f.displayName(pack.Name)
	body := struct {
		Problem, Hint, CSRF, Auth, Action, Back string
		Fields                                  []formField
	}{
		Hint: auth.Hint, CSRF: csrfToken(nonce, s.ID), Auth: auth.ID,
		Action: pack.Name + "?auth=" + url.QueryEscape(auth.ID), Back: "../" + r.PathValue("session"),
	}
	status := http.StatusOK
	if fault != nil {
		status, body.Problem = http.StatusUnprocessableEntity, fault.Message
	}
	for _, field := range auth.Fields {
		in := formField{ID: fieldPrefix + field.Name, Label: field.Label, Help: field.Help, Type: "password"}
		switch {
		case field.Public:
			in.Type, in.Value = "text", r.PostForm.Get(fieldPrefix+field.Name)
		case auth.JWT != nil && strings.Contains(auth.JWT.Key.String(), "credential."+field.Name):
			in.Type = "" // a key in PEM has lines
		}
		body.Fields = append(body.Fields, in)
	}
	return webPage{name: "form", status: status, title: "Connect " + name, body: body}
}

// servePost answers POST /connect/{session}/{provider}: the button of a provider,
// or the form with a credential.
func (f *flows) servePost(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	s, fault := f.enter(r)
	if fault == nil && (r.ParseForm() != nil || !f.isOwnForm(r, s.ID)) {
		fault = wrongForm()
	}
	var pack *providers.Pack
	var auth *providers.Auth
	if fault == nil {
		pack, auth, fault = f.chosen(r.Context(), s, r, r.PostForm.Get("auth"))
	}
	switch {
	case fault != nil:
		f.pages.write(w, fault.page())
	case auth.Type == providers.AuthOAuth2:
		f.sendToProvider(w, r, s, auth)
	default:
		f.takeForm(w, r, s, pack, auth)
	}
}

// sendToProvider begins an attempt that only this browser can finish.
func (f *flows) sendToProvider(w http.ResponseWriter, r *http.Request, s *session, auth *providers.Auth) {
	begun, err := f.start(r.Context(), startInput{
		UserID: s.UserID, Provider: r.PathValue("provider"), Auth: auth.ID, ReturnTo: s.ReturnTo, Cookie: digest(f.nonce(r)),
	})
	if err != nil {
		f.pages.write(w, f.trouble(err).page())
		return
	}
	leave(w, begun.URL)
}

// takeForm makes a connection of what the user entered.
func (f *flows) takeForm(w http.ResponseWriter, r *http.Request, s *session, pack *providers.Pack, auth *providers.Auth) {
	fields := make(map[string]providers.Secret, len(auth.Fields))
	for _, field := range auth.Fields {
		entered := strings.TrimSpace(r.PostForm.Get(fieldPrefix + field.Name))
		fields[field.Name] = providers.NewSecret([]byte(entered))
	}
	c, err := f.connectWith(r.Context(), newConnection{UserID: s.UserID, Provider: pack.Name, Auth: auth.ID, Fields: fields}, auth)
	var e *events.Error
	switch {
	case errors.As(err, &e) && e.Code != events.CodeInternal:
		f.pages.write(w, f.form(r, s, pack, auth, f.nonce(r), e))
		return
	case err != nil:
		f.pages.write(w, f.trouble(err).page())
		return
	}
	attempt := &flow{Provider: pack.Name, ReturnTo: s.ReturnTo, Status: flowConnected, Connected: c.ID}
	next := ""
	if s.ReturnTo != "" {
		if next, err = withParams(s.ReturnTo, attempt.params()); err == nil {
			w.Header().Set("Refresh", "1; url="+next)
		}
	}
	f.pages.write(w, f.endPage(attempt, next))
}

// connectWith finds out whose account a credential is for before it is kept, and
// keeps none that the provider refuses. A provider that does not tell now leaves
// the account unknown.
func (f *flows) connectWith(ctx context.Context, in newConnection, auth *providers.Auth) (connection, error) {
	ctx = actingAs(ctx, actorBrowser)
	if auth.Identity == nil || auth.Identity.Request == nil || auth.Type.Mints() {
		return f.create(ctx, in)
	}
	if err := checkFields(auth.Pack(), auth, &in); err != nil {
		return connection{}, err
	}
	cred := providers.Credential{Auth: auth.ID, Token: in.Fields[fieldToken], Fields: in.Fields}
	account, err := f.oauth.Identity(ctx, auth, f.providers.App(in.Provider), cred)
	var failure *oauth.Failure
	switch {
	case err == nil:
		in.Account = account.ID
	case errors.As(err, &failure) && failure.Class == oauth.Dead:
		return connection{}, events.Errorf(events.CodeProviderRejected, "%s refuses this. Look whether it is complete and still good.", f.displayName(in.Provider))
	default:
		f.log.Info().Str("provider", in.Provider).Err(err).Msg("account of a new connection not known")
	}
	return f.create(ctx, in)
}
