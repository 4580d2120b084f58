package plugfn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nuid"
	"go.opentelemetry.io/otel/propagation"

	"github.com/plugfn/plugfn/pkg/events"
)

// Result is how one request ended. There is exactly one for an id.
type Result = events.Result

// Outcome is how a request ended: [Succeeded], [Failed], or [Unknown] where it
// left for the provider and nothing proves whether it was carried out.
type Outcome = events.Outcome

// The outcomes.
const (
	Succeeded = events.Succeeded
	Failed    = events.Failed
	Unknown   = events.Unknown
)

// The ways to deal with a write whose outcome cannot be known.
const (
	AtMostOnce  = events.AtMostOnce
	AtLeastOnce = events.AtLeastOnce
)

// NoCache as the Cache of a request has the provider asked anew.
const NoCache = events.NoCache

// Request asks for one execution of an action. User and Action are needed.
type Request struct {
	User   string // whose connection acts
	Action string // <provider>.<action>, such as github.issues.create
	// Params is whatever encodes to a JSON object, such as a map or a struct;
	// json.RawMessage and []byte are sent as they are. nil: none.
	Params any

	// ID is the idempotency key, unique for the user, at most 256 bytes. Empty:
	// one is made up, which the result and each error of it has.
	ID          string
	Connection  string          // id of the one to use; empty: the user's only one, or the default
	Timeout     time.Duration   // of one attempt; 0: the action's own
	Deadline    time.Time       // no attempt starts after it; zero: the deadline of the context, with Do
	NotBefore   time.Time       // no attempt starts before it; zero: at once
	MaxAttempts int             // 0: the action's own
	Delivery    events.Delivery // empty: AtMostOnce
	Cache       time.Duration   // how old the answer to a read may be; 0: the action's own; NoCache
	MaxPages    int             // how many pages of a list are joined; 0: one
}

// wire makes of r what travels, with an id.
func (c *Client) wire(ctx context.Context, r *Request) (*events.ActionRequest, error) {
	provider, action, ok := strings.Cut(r.Action, ".")
	switch {
	case r.User == "":
		return nil, refused("User is missing: it says whose connection acts")
	case !ok || provider == "" || action == "":
		return nil, refused("Action %q: must be <provider>.<action>, such as github.issues.create", r.Action)
	case len(r.ID) > events.MaxID:
		return nil, refused("ID: is longer than %d bytes", events.MaxID)
	case strings.ContainsAny(r.ID+r.Connection, "\r\n"):
		return nil, refused("ID and Connection: must be one line")
	}
	params, err := encodeParams(r.Params)
	if err != nil {
		return nil, err
	}
	w := &events.ActionRequest{
		ID: r.ID, UserID: r.User, Provider: provider, Action: action, Params: params, ConnectionID: r.Connection,
		Timeout: r.Timeout, Deadline: r.Deadline, NotBefore: r.NotBefore, MaxAttempts: r.MaxAttempts,
		Delivery: r.Delivery, Cache: r.Cache, MaxPages: r.MaxPages, TraceParent: c.traceParent(ctx),
	}
	if w.ID == "" {
		w.ID = "req_" + nuid.Next()
	}
	return w, nil
}

// refused is a request that is not sent because it is wrong.
func refused(format string, args ...any) error {
	return &Error{Code: events.CodeInvalidParams, Message: fmt.Sprintf(format, args...)}
}

func encodeParams(params any) (json.RawMessage, error) {
	var raw json.RawMessage
	switch p := params.(type) {
	case nil:
		return json.RawMessage("{}"), nil
	case json.RawMessage:
		raw = p
	case []byte:
		raw = p
	default:
		var err error
		if raw, err = json.Marshal(params); err != nil {
			return nil, refused("Params: %v", err)
		}
	}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, refused("Params: must be a JSON object")
	}
	return raw, nil
}

const traceParent = events.HeaderTraceParent

// traceParent is the trace of a context, as it travels; "" for none.
func (c *Client) traceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	c.propagator.Inject(ctx, carrier)
	return carrier[traceParent]
}

// traced returns ctx with the trace that came along.
func (c *Client) traced(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return c.propagator.Extract(ctx, propagation.MapCarrier{traceParent: parent})
}

// Decode reads the data of a result as a T.
func Decode[T any](r Result) (T, error) {
	var v T
	if len(r.Data) == 0 {
		return v, errors.New("the result has no data")
	}
	if err := json.Unmarshal(r.Data, &v); err != nil {
		return v, fmt.Errorf("data of result %s: %w", r.ID, err)
	}
	return v, nil
}
