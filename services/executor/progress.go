package executor

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// Progress is how far a request is that was claimed or has waited. A read that
// was carried out at once has none.
type Progress struct {
	Attempts  int              `json:"attempts"`              // so far, with the one under way
	Sent      int              `json:"sent"`                  // those that may have reached the provider
	Deferrals int              `json:"deferrals"`             // how often it was put off without an attempt that counts
	Looks     int              `json:"looks,omitempty"`       // for what the last attempt came to
	InFlight  bool             `json:"in_flight"`             // an attempt is under way, or was when its executor went away
	Waits     string           `json:"waits,omitempty"`       // for what: time, retry, slot, look, turn or reauth
	Until     time.Time        `json:"until,omitzero"`        // then it goes on
	Doubt     bool             `json:"doubt,omitempty"`       // an attempt may have been carried out
	Canceled  bool             `json:"canceled,omitempty"`    // it is taken back when its turn comes
	Log       []events.Attempt `json:"attempt_log,omitempty"` // the last attempts that came to an end
	Waited    int64            `json:"waited_ms,omitempty"`   // that limits have held it back
	Last      *events.Error    `json:"last,omitempty"`        // what the last attempt came to
}

// ProgressOf reads how far a user's request is from the journal. It is nil
// where the journal has nothing about it.
func ProgressOf(ctx context.Context, js jetstream.JetStream, user, id string) (*Progress, error) {
	kv, err := js.KeyValue(ctx, bus.BucketJournal)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	e, err := journal{kv: kv}.get(ctx, events.Key(user, id))
	if e == nil || err != nil {
		return nil, err
	}
	return &Progress{
		Attempts: e.Attempts, Sent: e.Sent, Deferrals: e.Deferrals, Looks: e.Looks, InFlight: e.attempted(),
		Waits: string(e.Wait), Until: e.Until, Doubt: e.Doubt, Canceled: e.Canceled, Last: e.Last,
		Log: e.Log, Waited: e.Waited + e.Held,
	}, nil
}
