package auth

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxUser    = 256 // bytes
	maxName    = 100 // characters
	maxAccount = 256 // bytes
	maxToken   = 8 << 10
)

// newConnection asks for a connection with a credential that the caller has.
type newConnection struct {
	UserID, Provider, Name, Account string

	Auth  string // id of the pack's auth block; "" for the default one
	Token providers.Secret
}

// checkNew returns the auth block that in means, or an *events.Error that names
// the field and the fix.
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
	return auth, checkToken(in.Token)
}

func unknownProvider(known *providers.Registry, name string) *events.Error {
	if nearest := known.Nearest(name); nearest != "" {
		return events.Errorf(events.CodeUnknownProvider, "provider: there is no %s, did you mean %s?", quote(name), nearest)
	}
	return events.Errorf(events.CodeUnknownProvider, "provider: there is no %s; see: plugfn provider list", quote(name))
}

// pickAuth returns the auth block that takes a credential from the caller.
func pickAuth(pack *providers.Pack, wanted string) (*providers.Auth, error) {
	auth, ok := pack.AuthByID(wanted)
	switch {
	case !ok && wanted != "":
		return nil, invalid("auth", "provider %s has no %s; it has: %s", pack.Name, quote(wanted), strings.Join(authIDs(pack), ", "))
	case !ok || auth.Type == providers.AuthNone:
		return nil, invalid("auth", "provider %s takes no credential here: its actions need no connection", pack.Name)
	case auth.Type != providers.AuthAPIKey:
		return nil, invalid("auth", "%s of provider %s is not made from a token", auth.ID, pack.Name)
	}
	return auth, nil
}

func authIDs(pack *providers.Pack) []string {
	ids := make([]string, len(pack.Auth))
	for i, auth := range pack.Auth {
		ids[i] = auth.ID
	}
	return ids
}

// checkToken says what is wrong with a token without showing any of it.
func checkToken(token providers.Secret) error {
	text := token.Reveal()
	defer clear(text)
	switch {
	case len(text) == 0:
		return invalid("token", "must not be empty")
	case len(text) > maxToken:
		return invalid("token", "longer than %d bytes", maxToken)
	case !utf8.Valid(text) || bytes.ContainsFunc(text, unicode.IsControl):
		return invalid("token", "must be valid UTF-8 without line breaks and other control characters")
	case len(bytes.TrimSpace(text)) != len(text):
		return invalid("token", "must not begin or end with a space")
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

func clip(s string) string {
	const limit = 60
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}
