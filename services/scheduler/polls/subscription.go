package polls

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

const due = events.PrefixRun + events.NoUser + ".poll.due"

// Subscription is what somebody wants to hear of.
type Subscription struct {
	Provider     string          `json:"provider"`
	Trigger      string          `json:"trigger" doc:"An event that the provider's pack says how to look for."`
	ConnectionID string          `json:"connection_id,omitempty" doc:"Where the user has several."`
	Params       json.RawMessage `json:"params,omitempty" doc:"An object: parameters of the action that lists, beside those that the trigger sets."`
}

// Poll judges s and returns how its trigger is looked for. What is wrong is an
// *events.Error that names a field below path.
func (s *Subscription) Poll(packs *providers.Registry, path string) (*providers.Poll, error) {
	pack, ok := packs.Pack(s.Provider)
	if !ok {
		return nil, events.Errorf(events.CodeUnknownProvider, "%s.provider: no provider %q%s", path, api.Clip(s.Provider), nearest.Meant(packs.Nearest(s.Provider)))
	}
	trigger := pack.Triggers[s.Trigger]
	if trigger == nil || trigger.Poll == nil {
		return nil, events.Errorf(events.CodeInvalidParams, "%s.trigger: %q is no trigger of %s that is looked for%s", path, api.Clip(s.Trigger), pack.Name, thereAre(pack))
	}
	if err := s.check(pack, trigger.Poll); err != nil {
		var e *events.Error
		if errors.As(err, &e) {
			return nil, events.Errorf(e.Code, "%s.%s", path, e.Message)
		}
		return nil, err
	}
	return trigger.Poll, nil
}

func (s *Subscription) check(pack *providers.Pack, poll *providers.Poll) error {
	for _, since := range []time.Time{{}, time.Unix(1<<30, 0)} { // the first look, and any other
		params, err := poll.Fill(s.Params, since)
		if err != nil {
			return err
		}
		if err := pack.Actions[poll.Action].Validate(params); err != nil {
			var e *events.Error
			if errors.As(err, &e) {
				return events.Errorf(e.Code, "params: %s", e.Message)
			}
			return err
		}
	}
	return nil
}

func thereAre(pack *providers.Pack) string {
	var names []string
	for name, t := range pack.Triggers {
		if t.Poll != nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ": it has none; the others come by webhook"
	}
	slices.Sort(names)
	return ": there are " + strings.Join(names, ", ")
}

// Tick is one look that is wanted.
type Tick struct {
	ID       string `json:"id"` // of the tick, unique per user
	UserID   string `json:"user_id"`
	Schedule string `json:"schedule"`
	// Nonce makes message ids of events that nobody can guess: a stream drops the
	// second message with an id, whoever sent the first.
	Nonce string `json:"nonce"`
	Subscription
}

// Msg makes the message that has t looked at, for the stream of runs.
func (t *Tick) Msg() (*nats.Msg, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encoding the look %s: %w", t.ID, err)
	}
	msg := nats.NewMsg(due)
	msg.Data = body
	return msg, nil
}
