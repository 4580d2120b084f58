package auth

import (
	"context"
	"errors"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

// authority asks providers on behalf of connections.
type authority interface {
	// renew gets a credential that is newer than the one in hand. It may spend
	// that one. Its error is a *refusal.
	renew(ctx context.Context, in hand) (minted, error)
	// probe asks for something harmless; a *refusal of class dead says that the
	// credential is refused, any other error proves nothing. false: there is
	// nothing to ask for.
	probe(ctx context.Context, in hand) (bool, error)
	// revoke gives the credential back. false: the provider has no way to do it.
	// A *refusal of class transient says to try again.
	revoke(ctx context.Context, in hand) (bool, error)
}

// hand is the credential of a connection with all that asking for it takes.
type hand struct {
	secrets
	auth         *providers.Auth
	app          providers.App
	connectionID string
	version      int
	scopes       []string // that were asked for; nil: the pack's
}

// credential is what authorises a request.
func (h *hand) credential() providers.Credential {
	return providers.Credential{Auth: h.auth.ID, Token: h.AccessToken, Fields: h.Fields, ConnectionID: h.connectionID, Version: h.version}
}

// refusal is a failure with what may be needed of it once.
type refusal struct {
	failure
	lost  bool             // the provider may have acted on it, and nobody heard the answer
	after time.Duration    // how long to wait at least; 0: it was not said
	raw   providers.Secret // of failAmbiguous: the answer
	text  string           // safe to log
}

// Error says what failed, without anything secret.
func (r *refusal) Error() string { return r.text }

// oauthAuthority is the authority of all that [oauth.Client] speaks.
type oauthAuthority struct{ client *oauth.Client }

func (a oauthAuthority) renew(ctx context.Context, in hand) (minted, error) {
	var g *oauth.Grant
	var err error
	if in.auth.Type.Mints() {
		g, err = a.client.Mint(ctx, in.auth, in.app, in.credential(), in.scopes)
	} else {
		g, err = a.client.Refresh(ctx, in.auth, in.app, in.RefreshToken)
	}
	if err != nil {
		return minted{}, refusalOf(err)
	}
	return mintedOf(g), nil
}

func (a oauthAuthority) probe(ctx context.Context, in hand) (bool, error) {
	if in.auth.Probe == nil {
		return false, nil
	}
	if err := a.client.Probe(ctx, in.auth, in.app, in.credential()); err != nil {
		return true, refusalOf(err)
	}
	return true, nil
}

func (a oauthAuthority) revoke(ctx context.Context, in hand) (bool, error) {
	done, err := a.client.Revoke(ctx, in.auth, in.app, in.credential(), in.RefreshToken)
	if err != nil {
		return done.Attempted, refusalOf(err)
	}
	return done.Attempted, nil
}

// mintedOf is what a provider handed out.
func mintedOf(g *oauth.Grant) minted {
	return minted{
		secrets:   secrets{AccessToken: g.AccessToken, RefreshToken: g.RefreshToken},
		ExpiresAt: g.ExpiresAt, RefreshExpiresAt: g.RefreshExpiresAt,
		Scopes: g.Scopes, Missing: g.Missing, Account: g.Account, Label: g.Label,
	}
}

// refusalOf is a failure of the protocol in the words of this room. One that is
// neither the grant's nor the app's fault passes.
func refusalOf(err error) error {
	var f *oauth.Failure
	if !errors.As(err, &f) {
		return &refusal{failure: failure{Class: failMisconfigured}, text: err.Error()}
	}
	r := &refusal{
		failure: failure{Class: failTransient, Code: f.Code, Status: f.Status},
		lost:    f.Sent && f.Status == 0, after: f.RetryAfter, text: f.Error(),
	}
	switch f.Class {
	case oauth.Dead:
		r.Class = failDead
	case oauth.Misconfigured:
		r.Class = failMisconfigured
	case oauth.Ambiguous:
		r.Class, r.raw = failAmbiguous, clipped(f.Body)
	}
	return r
}

// maxRaw is how much of an answer that cannot be read is kept: encrypted and
// encoded, it has to fit into a message of the bus.
const maxRaw = 256 << 10

func clipped(s providers.Secret) providers.Secret {
	text := s.Reveal()
	defer clear(text)
	return providers.NewSecret(text[:min(len(text), maxRaw)])
}
