package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxSession          = 30 * time.Minute
	maxSessionProviders = 50
)

// session is a link that the application hands to one user's browser, to connect
// accounts there. It is the value of a key in the bucket of states.
type session struct {
	ID        string    `json:"id"` // also of its key; digest of the token in the link
	UserID    string    `json:"user_id"`
	Providers []string  `json:"providers"`
	ReturnTo  string    `json:"return_to,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// sessionInput asks for a session.
type sessionInput struct {
	UserID    string
	Providers []string
	ReturnTo  string
	ExpiresIn time.Duration // 0: the longest, half an hour
}

// openSession makes a session. Its link is a secret: whoever has it connects
// accounts for that user.
func (f *flows) openSession(ctx context.Context, in sessionInput) (link string, s session, err error) {
	if err := f.checkSession(ctx, &in); err != nil {
		return "", session{}, err
	}
	if f.public == nil {
		return "", session{}, errNoPublicURL()
	}
	token, id := newToken()
	s = session{
		ID: id, UserID: in.UserID, Providers: in.Providers, ReturnTo: in.ReturnTo,
		ExpiresAt: f.now().Add(in.ExpiresIn).UTC().Truncate(time.Second),
	}
	value, err := json.Marshal(s)
	if err != nil {
		return "", session{}, fmt.Errorf("encoding the session: %w", err)
	}
	if _, err := f.states.write(ctx, prefixSession+id, value, 0, s.ExpiresAt); err != nil {
		return "", session{}, err
	}
	return f.public.String() + pathConnect + token, s, nil
}

func (f *flows) checkSession(ctx context.Context, in *sessionInput) error {
	if in.ExpiresIn == 0 {
		in.ExpiresIn = maxSession
	}
	switch {
	case in.ExpiresIn < time.Minute || in.ExpiresIn > maxSession:
		return invalid("expires_in", "must be from 60 to %d seconds", int(maxSession.Seconds()))
	case len(in.Providers) == 0 || len(in.Providers) > maxSessionProviders:
		return invalid("providers", "must name from 1 to %d providers", maxSessionProviders)
	}
	if err := checkOwner(in.UserID, ""); err != nil {
		return err
	}
	if err := f.returns.check(in.ReturnTo); err != nil {
		return err
	}
	for i, name := range in.Providers {
		if slices.Contains(in.Providers[:i], name) {
			return invalid("providers", "names %s twice", quote(name))
		}
		pack, ok := f.providers.Pack(name)
		if !ok {
			return unknownProvider(f.providers, name)
		}
		ways, err := f.waysTo(ctx, pack, in.UserID)
		if err != nil {
			return err
		}
		if len(ways) == 0 {
			return invalid("providers", "%s cannot be connected: set your OAuth client with plugfn app set %s", name, name)
		}
	}
	return nil
}

// waysTo lists the auth blocks by which a user can connect to a provider now:
// first those by consent, then those for which he enters something.
func (f *flows) waysTo(ctx context.Context, pack *providers.Pack, user string) ([]*providers.Auth, error) {
	app, err := f.apps.pick(ctx, pack.Name, user)
	if err != nil {
		return nil, err
	}
	var consents, forms []*providers.Auth
	for _, auth := range pack.Auth {
		switch {
		case auth.Type == providers.AuthOAuth2 && auth.Authorize != nil && app.ClientID != "":
			consents = append(consents, auth)
		case asksForSecret(auth):
			forms = append(forms, auth)
		}
	}
	return append(consents, forms...), nil
}

// asksForSecret reports whether what a user enters proves that the account is
// his. The number of an installation of the operator's app, for one, does not:
// anybody could enter that of another customer.
func asksForSecret(auth *providers.Auth) bool {
	return slices.ContainsFunc(auth.Fields, func(field providers.AuthField) bool { return !field.Public })
}

// session returns the session of a token. Its error is errGone unless the bus
// fails.
func (s *states) session(ctx context.Context, token string) (session, error) {
	if !isDigest(token) {
		return session{}, errGone
	}
	id := digest(token)
	value, _, err := s.read(ctx, prefixSession+id)
	if err != nil {
		return session{}, err
	}
	found, err := decodeSession(id, value)
	if err != nil || !s.now().Before(found.ExpiresAt) {
		return session{}, errGone
	}
	return found, nil
}

// decodeSession reads the session with that id. One that was copied from another
// key is refused.
func decodeSession(id string, value []byte) (session, error) {
	var s session
	if len(value) > maxState || json.Unmarshal(value, &s) != nil {
		return session{}, errGone
	}
	if s.ID != id || !isDigest(id) || s.UserID == "" || len(s.Providers) == 0 || s.ExpiresAt.IsZero() {
		return session{}, errGone
	}
	return s, nil
}

// pack returns a provider of the session, false where it has none of that name.
func (f *flows) sessionPack(s *session, name string) (*providers.Pack, bool) {
	if !slices.Contains(s.Providers, name) {
		return nil, false
	}
	return f.providers.Pack(name)
}
