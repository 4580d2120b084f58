package providers

import (
	"io/fs"
	"time"
)

// APIVersion is the version of the pack format that this package reads.
const APIVersion = "plugfn.dev/v1"

// Pack is one provider: what provider.yaml says, checked and compiled.
type Pack struct {
	APIVersion  string              `yaml:"apiVersion"` // always plugfn.dev/v1
	Kind        string              `yaml:"kind"`       // always Provider
	Name        string              `yaml:"name"`       // [a-z][a-z0-9-]*, the folder's name
	Version     string              `yaml:"version"`    // of the pack, semantic
	Display     Display             `yaml:"display"`
	EventPrefix string              `yaml:"event_prefix"` // reverse-DNS prefix of ce-type, such as com.github
	Auth        []*Auth             `yaml:"auth"`
	HTTP        HTTP                `yaml:"http"`
	Limits      []*Limit            `yaml:"limits"`
	Actions     map[string]*Action  `yaml:"actions"`  // :: action name → action
	Webhooks    *Webhooks           `yaml:"webhooks"` // nil: the provider sends none
	Triggers    map[string]*Trigger `yaml:"triggers"` // :: event name → what is known of it; other events flow too

	// Data is a JSON Schema whose properties are the data that actions give back,
	// by the name of the action, as far as the provider promises it. Nothing is
	// refused for it; types are made from it. nil: nothing is known.
	Data *Schema `yaml:"data"`

	dir      fs.FS  // the pack's own folder, for its fixtures
	document []byte // provider.yaml
}

// Display is what people see of a provider.
type Display struct {
	Name       string   `yaml:"name"`
	Docs       string   `yaml:"docs"` // URL of the provider's own API documentation
	Categories []string `yaml:"categories"`
}

// HTTP is what all actions of a provider have in common.
type HTTP struct {
	BaseURL     string            `yaml:"base_url"`     // https, without a trailing slash; its first label may be {{credential.NAME}}; the operator may override it
	AllowHosts  []string          `yaml:"allow_hosts"`  // beside those of base_url and of the auth blocks: what an answer may lead to
	Headers     map[string]string `yaml:"headers"`      // sent with each request
	Success     Predicate         `yaml:"success"`      // fields: status, header, body; empty: status < 300
	Errors      []ErrorClass      `yaml:"errors"`       // the first that matches classes a failure
	Error       ErrorFields       `yaml:"error"`        // where a failure names its reason
	ETags       bool              `yaml:"etags"`        // it answers a read with If-None-Match by 304 where nothing has changed
	RequestID   Source            `yaml:"request_id"`   // header:NAME of the provider's id of the request
	MaxResponse Size              `yaml:"max_response"` // 0: 10 MiB
	Timeout     time.Duration     `yaml:"timeout"`      // of one attempt; 0: 30 s

	site *site // of BaseURL; nil: it is the same for all
}

// ErrorClass maps a failed response to an error code.
type ErrorClass struct {
	When       Predicate `yaml:"when"`        // fields as in HTTP.Success
	Code       string    `yaml:"code"`        // one of the codes of pkg/events
	RetryAfter Sources   `yaml:"retry_after"` // seconds, a Unix time or an HTTP date: the first that is there
	// NothingDone says that the provider carries nothing out when it answers
	// so, for provider_unavailable. All other codes say that by themselves.
	NothingDone bool   `yaml:"nothing_done"`
	Needs       Source `yaml:"needs"` // json:/pointer to the missing scope, for scope_required
}

// ErrorFields are JSON pointers into a failure's body.
type ErrorFields struct {
	Message Source `yaml:"message"`
	Code    Source `yaml:"code"`
}

// Effect says what a second execution of an action would do, and so whether it
// may be sent again after its outcome was lost.
type Effect string

// The effects. A write that PlugFn cannot tell apart from its repetition is
// EffectNone: it is never sent twice without being asked to.
const (
	EffectRead       Effect = "read"       // changes nothing
	EffectIdempotent Effect = "idempotent" // a repetition changes nothing more
	EffectKeyed      Effect = "keyed"      // the provider drops a repetition with the same key
	EffectReconcile  Effect = "reconcile"  // a read tells whether it was carried out
	EffectNone       Effect = "none"       // a repetition does it again
)

func effects() []Effect {
	return []Effect{EffectRead, EffectIdempotent, EffectKeyed, EffectReconcile, EffectNone}
}

// Action is an operation that a provider offers.
type Action struct {
	Name      string        `yaml:"-"`
	Summary   string        `yaml:"summary"`
	Docs      string        `yaml:"docs"` // URL at the provider
	Effect    Effect        `yaml:"effect"`
	Scopes    []string      `yaml:"scopes"`
	Params    *Schema       `yaml:"params"` // JSON Schema 2020-12 of the parameters, an object
	Request   Request       `yaml:"request"`
	Paginate  *Paginate     `yaml:"paginate"`  // nil: one answer is all of it
	Cache     time.Duration `yaml:"cache"`     // how old a kept answer of a read may be, where the caller does not say; 0: none is used
	Result    Source        `yaml:"result"`    // json:/pointer to the part of the body that is the data; empty: all of it
	Response  ResponseKind  `yaml:"response"`  // what a success is; empty: ResponseData
	MaxFile   Size          `yaml:"max_file"`  // of the file that is sent or given back; 0: 25 MiB
	Sensitive []string      `yaml:"sensitive"` // JSON pointers into params that no log may show
	Timeout   time.Duration `yaml:"timeout"`   // 0: the pack's
	// Idempotency is how a repetition is recognised; with effect keyed and
	// reconcile, nil otherwise.
	Idempotency *Idempotency `yaml:"idempotency"`
	Retry       Retry        `yaml:"retry"`
	// Invalidates names the reads whose kept answers a write makes old: those
	// with the same values of what stands in the paths of both.
	Invalidates []string `yaml:"invalidates"`

	// OrderBy has requests of one user carried out one after another, in the order
	// in which they were stored, where they have these in common: connection,
	// params.NAME. Empty: several at once, in no order.
	OrderBy []string `yaml:"order_by"`

	LimitIDs []string       `yaml:"limits"` // that count for this action beside those that no action names
	Cost     map[string]int `yaml:"cost"`   // :: ID of a rate → what a call costs; not written: 1

	pack             *Pack
	shared           [][]string // of a read: names of parameters, for each write that makes it old
	limits           []*Limit   // all that count
	limitsReadParams bool
}

// Retry is how often an action is tried, where it may be tried again at all.
type Retry struct {
	Attempts int           `yaml:"attempts"` // the first among them; 0: 5
	Base     time.Duration `yaml:"base"`     // the longest wait after the first, which doubles each time; 0: 1 s
}

// Request is how an action is asked for.
type Request struct {
	Method  string              `yaml:"method"`
	Path    Template            `yaml:"path"`    // fields: params.*, each escaped as one path segment; may end in a slash
	Query   map[string]Template `yaml:"query"`   // a parameter whose field is absent is left out
	Headers map[string]Template `yaml:"headers"` // likewise; not those that authorise, route or frame a request
	Body    *Body               `yaml:"body"`    // nil: none

	segments []segment // of Path
	slash    bool      // Path ends in a slash
	taken    []string  // see placed; nil: not known yet
}

// Body is the body of a request: the parameters that the path, the query and
// the headers did not use.
type Body struct {
	Encoding Encoding `yaml:"encoding"`
	File     string   `yaml:"file"` // of raw and multipart: the parameter that is the file
	Omit     []string `yaml:"omit"` // names of parameters that stay out as well
}

// Encoding is how a body is written.
type Encoding string

// The encodings.
const (
	EncodingJSON Encoding = "json" // an object
	EncodingForm Encoding = "form" // lists and objects in it are JSON texts

	EncodingRaw       Encoding = "raw"       // the file alone; of actions only
	EncodingMultipart Encoding = "multipart" // a form with the file as its last part; of actions only
)

// Trigger is what is known of an event that a provider can send, or that is
// looked for there.
type Trigger struct {
	Name    string   `yaml:"-"`
	Summary string   `yaml:"summary"`
	Docs    string   `yaml:"docs"`
	Scopes  []string `yaml:"scopes"`
	Schema  *Schema  `yaml:"schema"` // JSON Schema of the payload, as far as promised
	Poll    *Poll    `yaml:"poll"`   // nil: the provider pushes it
}
