package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Outcome is how a request ended.
type Outcome string

// The outcomes. Unknown is an honest answer: the request left for the provider
// and nothing proves whether it was carried out.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Unknown   Outcome = "unknown"
)

// Result is how one request ended. There is exactly one per request id.
type Result struct {
	ID           string          `json:"id"`
	UserID       string          `json:"user_id"`
	Provider     string          `json:"provider"`
	Action       string          `json:"action"`
	ConnectionID string          `json:"connection_id,omitempty"`
	Outcome      Outcome         `json:"outcome"`
	Data         json.RawMessage `json:"data,omitempty"`
	DataRef      *PayloadRef     `json:"dataref,omitempty"` // where the data is, when it is longer than MaxInline; Data is absent then, see [Payloads.ResolveResult]
	Error        *Error          `json:"error,omitempty"`
	Attempts     int             `json:"attempts"`              // attempts that were sent to the provider
	Cached       bool            `json:"cached"`                // the data was kept from an earlier request
	Pages        int             `json:"pages,omitempty"`       // of a list, that the data holds or that were sent by themselves; 0: it has none
	More         bool            `json:"more,omitempty"`        // there are further pages
	Next         json.RawMessage `json:"next,omitempty"`        // the parameters to change for the page after those, an object; absent where none can say it
	AttemptLog   []Attempt       `json:"attempt_log,omitempty"` // the last MaxAttemptLog of the attempts, in their order
	WaitedMS     int64           `json:"waited_ms,omitempty"`   // that limits have held the request back
	StartedAt    time.Time       `json:"started_at"`
	FinishedAt   time.Time       `json:"finished_at"`
	DurationMS   int64           `json:"duration_ms"`
}

// MaxAttemptLog is how many attempts a result tells about.
const MaxAttemptLog = 20

// Attempt is one try of a request, as it is remembered: nothing of what was sent
// or answered.
type Attempt struct {
	At        time.Time `json:"at"`                   // when it began
	Status    int       `json:"status,omitempty"`     // the provider's HTTP status; 0 when it did not answer
	Class     string    `json:"class"`                // done, refused, nothing, throttled, reauth or uncertain
	Code      Code      `json:"code,omitempty"`       // of its error; "": it succeeded
	MS        int64     `json:"ms"`                   // how long it took
	WaitedMS  int64     `json:"waited_ms,omitempty"`  // that limits have held it back before it
	RequestID string    `json:"request_id,omitempty"` // the provider's id of the request, at most 100 bytes
}

// Error says why a request did not succeed. It is an error value as well, so
// that code on the way can return it.
type Error struct {
	Code         Code   `json:"code"`
	Message      string `json:"message"`
	Status       int    `json:"status,omitempty"`        // the provider's HTTP status; 0 when it did not answer
	ProviderCode string `json:"provider_code,omitempty"` // the provider's own error code
	RequestID    string `json:"request_id,omitempty"`    // the provider's id of the request
	Retryable    bool   `json:"retryable"`

	RetryAt time.Time `json:"retry_at,omitzero"` // when a limit, or the provider, would take the request again; zero: nobody has said
}

// Errorf makes an Error whose Retryable follows the table of codes.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Retryable: code.Meaning().Retryable}
}

// Error returns the code and the message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Subject is where r is published.
func (r *Result) Subject() string { return ResultSubject(r.UserID, r.Provider, r.Outcome, r.ID) }

// Msg makes the message that carries r: JSON in a CloudEvent.
func (r *Result) Msg() (*nats.Msg, error) {
	// Data stays as short as it came: a < is not to become six bytes.
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return nil, fmt.Errorf("encoding result %s: %w", r.ID, err)
	}
	msg := nats.NewMsg(r.Subject())
	msg.Data = bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	e := Event{
		ID:              r.ID,
		Source:          "/plugfn/executor",
		Type:            "dev.plugfn.action." + string(r.Outcome),
		Subject:         r.Provider + "/" + r.Action,
		Time:            r.FinishedAt,
		DataContentType: "application/json",
		UserID:          r.UserID,
		ConnectionID:    r.ConnectionID,
		Provider:        r.Provider,
	}
	e.setHeader(msg.Header)
	msg.Header.Set(HeaderAttempts, strconv.Itoa(r.Attempts))
	msg.Header.Set(HeaderDuration, strconv.FormatInt(r.DurationMS, 10))
	if r.WaitedMS > 0 {
		msg.Header.Set(HeaderWaited, strconv.FormatInt(r.WaitedMS, 10))
	}
	if r.Error != nil {
		msg.Header.Set(HeaderErrorCode, string(r.Error.Code))
	}
	return msg, nil
}

// PageMsg makes the message that carries one page of a list, numbered from 1, to
// an inbox. Its body is the data of that page alone.
func PageMsg(inbox, id string, page int, data json.RawMessage) *nats.Msg {
	msg := nats.NewMsg(inbox)
	msg.Data = data
	msg.Header.Set(HeaderID, id)
	msg.Header.Set(HeaderPage, strconv.Itoa(page))
	return msg
}

// PageRefMsg is PageMsg for a page that is too long for a message: it has no
// body, and says in ce-dataref, ce-datasha256 and ce-datasize where the data is.
func PageRefMsg(inbox, id string, page int, ref PayloadRef) *nats.Msg {
	msg := PageMsg(inbox, id, page, nil)
	ref.setHeader(msg.Header)
	return msg
}

// ParseResult reads the body of a result message.
func ParseResult(body []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(body, &r); err != nil {
		return Result{}, fmt.Errorf("result is not JSON: %w", err)
	}
	return r, nil
}
