package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	// askTimeout is the longest that a Client waits for an answer.
	askTimeout = 5 * time.Second
	// maxReuse is for how long a credential is handed out again without asking.
	maxReuse = time.Minute
)

// Client asks the auth service for credentials over the bus. They come sealed
// to a key that only this Client has. While it runs, see [Client.Run], it asks
// less often. It is safe for concurrent use.
type Client struct {
	conn   *nats.Conn
	pair   nkeys.KeyPair
	public string
	asker  string // for the audit
	cache  *cache
}

// NewClient makes a Client with a key of its own, in memory only.
func NewClient(conn *nats.Conn) (*Client, error) {
	if conn == nil {
		return nil, errors.New("auth client: conn is needed")
	}
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, fmt.Errorf("auth client: making a curve key: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("auth client: making a curve key: %w", err)
	}
	return &Client{conn: conn, pair: pair, public: public, asker: askerOf(conn.Opts.Name), cache: newCache()}, nil
}

// Credential returns the credential of a user's connection to a provider, one
// that is good now as far as is known. An empty connectionID stands for the
// user's default connection, else his only one.
//
// It waits for five seconds, or less if ctx ends before. When ctx ends, the
// error is that of ctx; every other one is an *events.Error:
// connection_not_found, connection_ambiguous or needs_reauth, which the user
// has to settle, invalid_params, or internal, which is retryable and means that
// the credential is being refreshed, or that the auth service is away or in
// trouble.
func (c *Client) Credential(ctx context.Context, user, provider, connectionID string) (providers.Credential, error) {
	if known, ok := c.cache.get(events.Key(user, provider), connectionID); ok {
		return known, nil
	}
	return c.get(ctx, tokenRequest{UserID: user, Provider: provider, ConnectionID: connectionID})
}

// Refused returns a newer credential than one that the provider has refused, so
// that what was refused can be tried once more. Where there is none to be had,
// the error is needs_reauth, and the connection is looked into. Otherwise it is
// like Credential.
func (c *Client) Refused(ctx context.Context, user, provider string, refused providers.Credential) (providers.Credential, error) {
	c.cache.drop(events.Key(user, provider))
	return c.get(ctx, tokenRequest{UserID: user, Provider: provider, ConnectionID: refused.ConnectionID, SeenVersion: refused.Version})
}

func (c *Client) get(ctx context.Context, request tokenRequest) (providers.Credential, error) {
	request.Recipient, request.Nonce, request.Asker = c.public, rand.Text(), c.asker
	owner, began := events.Key(request.UserID, request.Provider), time.Now()
	asking := c.cache.begin(owner)
	g, err := c.granted(ctx, request)
	if err != nil {
		c.cache.end(asking, owner, nil)
		return providers.Credential{}, err
	}
	credential := g.credential()
	c.cache.end(asking, owner, &cached{
		owner: owner, id: request.ConnectionID, credential: credential,
		until: began.Add(time.Duration(min(g.ReuseMS, maxReuse.Milliseconds())) * time.Millisecond),
	})
	return credential, nil
}

// granted asks for a credential and opens what comes.
func (c *Client) granted(ctx context.Context, request tokenRequest) (grant, error) {
	reply, err := c.ask(ctx, request)
	if err != nil {
		return grant{}, err
	}
	if reply.Error != nil {
		return grant{}, reply.Error
	}
	return c.open(request, reply)
}

// credential is what is handed out.
func (g *grant) credential() providers.Credential {
	out := providers.Credential{
		Auth: g.Auth, Token: providers.NewSecret([]byte(g.Token)), ConnectionID: g.ConnectionID, Account: g.Account, Version: g.Version,
	}
	for name, value := range g.Fields {
		if out.Fields == nil {
			out.Fields = make(map[string]providers.Secret, len(g.Fields))
		}
		out.Fields[name] = providers.NewSecret([]byte(value))
	}
	return out
}

func (c *Client) ask(ctx context.Context, request tokenRequest) (tokenReply, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return tokenReply{}, fmt.Errorf("encoding the token request: %w", err)
	}
	waiting, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	msg, err := c.conn.RequestWithContext(waiting, subjectToken, body)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return tokenReply{}, fmt.Errorf("asking the auth service for a credential: %w", ctx.Err())
	case errors.Is(err, nats.ErrNoResponders):
		return tokenReply{}, events.Errorf(events.CodeInternal, "auth service is not running")
	case waiting.Err() != nil:
		return tokenReply{}, events.Errorf(events.CodeInternal, "auth service did not answer within %s: it is away or overloaded, or this client may not ask it", askTimeout)
	default:
		return tokenReply{}, events.Errorf(events.CodeInternal, "auth service cannot be asked: %v", err)
	}
	var reply tokenReply
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		return tokenReply{}, errStrange("it is not JSON of the known form")
	}
	return reply, nil
}

// open unseals the grant of a reply. Nothing outside of the seal counts.
func (c *Client) open(request tokenRequest, reply tokenReply) (grant, error) {
	if len(reply.Sender) != curveKeySize { // nkeys trusts the length of what it decodes
		return grant{}, errStrange("its sender is no curve key")
	}
	plain, err := c.pair.Open(reply.Sealed, reply.Sender)
	if err != nil {
		return grant{}, errStrange("it is not sealed to this client")
	}
	defer clear(plain)
	var g grant
	if err := json.Unmarshal(plain, &g); err != nil || g.Token == "" && len(g.Fields) == 0 || g.ConnectionID == "" {
		return grant{}, errStrange("there is no credential in it")
	}
	if g.Nonce != request.Nonce || g.UserID != request.UserID || g.Provider != request.Provider || g.SeenVersion != request.SeenVersion {
		return grant{}, errStrange("it answers another request")
	}
	if request.ConnectionID != "" && g.ConnectionID != request.ConnectionID {
		return grant{}, errStrange("it is for another connection")
	}
	if g.ConnectionID != reply.ConnectionID || g.Auth != reply.Auth || g.Version != reply.Version {
		return grant{}, errStrange("what it says in the clear is not what is sealed")
	}
	return g, nil
}

// askerOf makes the name of a connection fit for the audit.
func askerOf(name string) string {
	name = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(name, ""))
	return name[:min(len(name), maxAsker)]
}

func errStrange(why string) error {
	return events.Errorf(events.CodeInternal, "the reply of the auth service was refused: %s", why)
}
