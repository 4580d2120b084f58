package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxUser    = 256 // bytes
	maxName    = 100 // characters
	maxAccount = 256 // bytes
	maxToken   = 8 << 10
)

// fieldToken is the field of a credential that is its main secret.
const fieldToken = "token"

// newConnection asks for a connection with a credential that the caller has.
type newConnection struct {
	UserID, Provider, Name, Account string

	Auth   string                      // id of the pack's auth block; "" for the default one
	Token  providers.Secret            // short for the field token
	Fields map[string]providers.Secret // what the auth block asks for, by name
}

// create makes a connection of a credential that the caller has, and announces
// it. Where the credential is for getting tokens with, the first one is got now,
// so that nothing is kept that does not work.
func (s *Service) create(ctx context.Context, in newConnection) (connection, error) {
	grant, err := s.granted(ctx, &in)
	if err != nil {
		return connection{}, err
	}
	return s.store.add(ctx, grant)
}

// replace gives the connection of that id a credential that the caller has.
func (s *Service) replace(ctx context.Context, connectionID string, in newConnection) (connection, error) {
	entry, err := s.store.find(ctx, in.UserID, connectionID)
	if err != nil {
		return connection{}, err
	}
	k, err := s.store.read(entry)
	if err != nil {
		return connection{}, unusable(k.record, err)
	}
	in.UserID, in.Provider = k.UserID, k.Provider
	if in.Auth == "" {
		in.Auth = k.Auth
	}
	grant, err := s.granted(ctx, &in)
	if err != nil {
		return connection{}, err
	}
	grant.ConnectionID = connectionID
	return s.store.connect(ctx, grant)
}

// granted checks in and makes a credential of it.
func (s *Service) granted(ctx context.Context, in *newConnection) (grantInput, error) {
	auth, err := s.store.checkNew(in)
	if err != nil {
		return grantInput{}, err
	}
	out := grantInput{UserID: in.UserID, Provider: in.Provider, Auth: auth.ID, Name: in.Name}
	out.Credential.AccessToken = in.Fields[fieldToken]
	for name, value := range in.Fields {
		if name != fieldToken {
			if out.Credential.Fields == nil {
				out.Credential.Fields = map[string]providers.Secret{}
			}
			out.Credential.Fields[name] = value
		}
	}
	if auth.Type.Mints() {
		if err := s.mintFirst(ctx, auth, &out); err != nil {
			return grantInput{}, err
		}
	}
	if in.Account != "" {
		out.Credential.Account = in.Account
	}
	return out, nil
}

// mintFirst gets the first token of a credential that is for getting tokens.
func (s *Service) mintFirst(ctx context.Context, auth *providers.Auth, out *grantInput) error {
	app, err := s.store.app(ctx, out.Provider, out.UserID, "")
	if err != nil {
		return fmt.Errorf("finding the app: %w", err)
	}
	if _, own := out.Credential.Fields["client_id"]; !own {
		out.App = app.ClientID
	}
	calling, cancel := context.WithTimeout(ctx, s.refresher.timing.call)
	defer cancel()
	fields := out.Credential.Fields
	m, err := s.refresher.authority.renew(calling, hand{secrets: out.Credential.secrets, auth: auth, app: app})
	if err != nil {
		return firstRefusal(out.Provider, err)
	}
	m.Fields = fields
	out.Credential = m
	return nil
}

// firstRefusal says what a provider has against a credential that nobody has
// used yet.
func firstRefusal(provider string, err error) error {
	var r *refusal
	switch {
	case !errors.As(err, &r) || r.Class == failTransient:
		return events.Errorf(events.CodeProviderUnavailable, "%s cannot be asked for a token now: %v; nothing was kept", provider, err)
	case r.Class == failAmbiguous:
		return events.Errorf(events.CodeProviderRejected, "%s answers with something that is no token: %v; nothing was kept", provider, err)
	default:
		return invalid("fields", "%s gives no token for them: %v", provider, err)
	}
}

// checkNew returns the auth block that in means, or an *events.Error that names
// the field and the fix. The token is among the fields after that.
func (s *store) checkNew(in *newConnection) (*providers.Auth, error) {
	pack, ok := s.providers.Pack(in.Provider)
	if !ok {
		return nil, unknownProvider(s.providers, in.Provider)
	}
	auth, err := pickAuth(pack, in.Auth)
	if err != nil {
		return nil, err
	}
	if in.UserID == "" {
		return nil, invalid("user_id", "must not be empty: it says whose connection this is")
	}
	if len(in.UserID) > maxUser {
		return nil, invalid("user_id", "longer than %d bytes", maxUser)
	}
	if utf8.RuneCountInString(in.Name) > maxName {
		return nil, invalid("name", "longer than %d characters", maxName)
	}
	if len(in.Account) > maxAccount {
		return nil, invalid("account", "longer than %d bytes", maxAccount)
	}
	for _, field := range [][2]string{{"user_id", in.UserID}, {"name", in.Name}, {"account", in.Account}} {
		if !isPlain(field[1]) {
			return nil, invalid(field[0], "must be valid UTF-8 without control characters")
		}
	}
	return auth, checkFields(pack, auth, in)
}

// checkFields wants what the auth block of pack asks for, all of it and nothing
// else.
func checkFields(pack *providers.Pack, auth *providers.Auth, in *newConnection) error {
	if !in.Token.IsZero() {
		if _, twice := in.Fields[fieldToken]; twice {
			return invalid("token", "is given twice: leave it out of fields")
		}
		in.Fields = maps.Clone(in.Fields)
		if in.Fields == nil {
			in.Fields = map[string]providers.Secret{}
		}
		in.Fields[fieldToken] = in.Token
	}
	wanted := wantedFields(auth)
	for _, name := range slices.Sorted(maps.Keys(in.Fields)) {
		if !slices.Contains(wanted, name) {
			return invalid(located(name), "auth %s does not ask for it; it asks for: %s", auth.ID, strings.Join(wanted, ", "))
		}
	}
	for _, name := range wanted {
		if err := checkSecret(located(name), in.Fields[name], auth.Type.Mints()); err != nil {
			return err
		}
	}
	if name, err := pack.CheckSite(in.Fields); err != nil {
		return invalid(located(name), "%v", err)
	}
	return nil
}

// wantedFields lists the names of what has to be given to connect.
func wantedFields(auth *providers.Auth) []string {
	if auth.Type == providers.AuthAPIKey && len(auth.Fields) == 0 {
		return []string{fieldToken}
	}
	names := make([]string, len(auth.Fields))
	for i, field := range auth.Fields {
		names[i] = field.Name
	}
	return names
}

// located is where the caller has written a field.
func located(name string) string {
	if name == fieldToken {
		return name
	}
	return "fields." + clip(name)
}

func unknownProvider(known *providers.Registry, name string) *events.Error {
	if nearest := known.Nearest(name); nearest != "" {
		return events.Errorf(events.CodeUnknownProvider, "provider: there is no %s, did you mean %s?", quote(name), nearest)
	}
	return events.Errorf(events.CodeUnknownProvider, "provider: there is no %s; see: plugfn provider list", quote(name))
}

// pickAuth returns the auth block that takes a credential from the caller: the
// wanted one, or the first that does.
func pickAuth(pack *providers.Pack, wanted string) (*providers.Auth, error) {
	auth, ok := pack.AuthByID(wanted)
	if wanted == "" {
		for _, one := range pack.Auth {
			if takesCredential(one) {
				return one, nil
			}
		}
	}
	switch {
	case !ok && wanted != "":
		return nil, invalid("auth", "provider %s has no %s; it has: %s", pack.Name, quote(wanted), strings.Join(authIDs(pack), ", "))
	case !ok || auth.Type == providers.AuthNone:
		return nil, invalid("auth", "provider %s takes no credential here: its actions need no connection", pack.Name)
	case !takesCredential(auth):
		return nil, invalid("auth", "%s of provider %s is not made from a token: its users connect in the browser, see: plugfn connect %s", auth.ID, pack.Name, pack.Name)
	}
	return auth, nil
}

func takesCredential(auth *providers.Auth) bool {
	return auth.Type == providers.AuthAPIKey || auth.Type == providers.AuthBasic || auth.Type.Mints()
}

func authIDs(pack *providers.Pack) []string {
	ids := make([]string, len(pack.Auth))
	for i, auth := range pack.Auth {
		ids[i] = auth.ID
	}
	return ids
}

// checkSecret says what is wrong with a secret without showing any of it. A key
// may have lines.
func checkSecret(field string, secret providers.Secret, lines bool) error {
	text := secret.Reveal()
	defer clear(text)
	control := func(c rune) bool {
		return unicode.IsControl(c) && (!lines || !strings.ContainsRune("\r\n\t", c))
	}
	switch {
	case len(text) == 0:
		return invalid(field, "must not be empty")
	case len(text) > maxToken:
		return invalid(field, "longer than %d bytes", maxToken)
	case !utf8.Valid(text) || bytes.ContainsFunc(text, control):
		return invalid(field, "must be valid UTF-8 without line breaks and other control characters")
	case !lines && len(bytes.TrimSpace(text)) != len(text):
		return invalid(field, "must not begin or end with a space")
	}
	return nil
}

func isPlain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func invalid(field, format string, args ...any) *events.Error {
	return events.Errorf(events.CodeInvalidParams, "%s: %s", field, fmt.Sprintf(format, args...))
}

// quote shows what a caller sent, within bounds.
func quote(s string) string {
	return strconv.Quote(clip(s))
}

func clip(s string) string { return api.Clip(s) }
