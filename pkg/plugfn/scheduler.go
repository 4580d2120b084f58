package plugfn

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
)

// askScheduler makes a request about schedules, workflows or runs, whose user is
// in the subject. The id is left out where verb is about none; so is in.
func (c *Client) askScheduler(ctx context.Context, room, user, verb, id string, in, out any) error {
	subject := events.PrefixService + "scheduler." + room + "." + events.Token(user) + "." + verb
	if id != "" {
		subject += "." + events.Token(id)
	}
	msg := nats.NewMsg(subject)
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return refused("%s: %v", room, err)
		}
		msg.Data = body
	}
	if _, whole := events.Untoken(events.Token(user)); !whole {
		msg.Header.Set(events.HeaderUser, url.PathEscape(user))
	}
	return c.askMsg(ctx, msg, out)
}
