package providers

import "time"

// Webhooks is how a provider's deliveries are verified and read.
type Webhooks struct {
	Hint         string        `yaml:"hint"`          // where a person sets the webhook up
	Parametrised bool          `yaml:"parametrised"`  // an endpoint may replace parts of the block, see With
	MaxBody      Size          `yaml:"max_body"`      // not written: 25 MiB
	Bodies       []string      `yaml:"bodies"`        // json, text (JSON as text/plain), form, form:<field> (JSON inside a form field), none
	Secrets      []SecretKind  `yaml:"secrets"`       // what an endpoint has to know; the first is that of the verifiers; not written: signing
	Verifiers    []*Verifier   `yaml:"verify"`        // the first that applies and whose signature is present must pass
	Handshakes   []*Handshake  `yaml:"handshake"`     // answered instead of being published
	Batch        *Batch        `yaml:"batch"`         // nil: a delivery is one event
	DeliveryID   []Compose     `yaml:"delivery_id"`   // parts are joined by "/"; none present: hash:body
	Event        []Compose     `yaml:"event"`         // parts are joined by "."
	EventNames   EventNames    `yaml:"event_names"`   // how the names become those of PlugFn
	Subject      []Compose     `yaml:"subject"`       // parts are joined by "/"
	Account      []Source      `yaml:"account"`       // whose event it is, in the provider's words
	Time         []TimeSource  `yaml:"time"`          // when it happened
	Order        []Source      `yaml:"order"`         // what must stay in order among each other → ce-partitionkey
	Answers      []*Answer     `yaml:"answer"`        // what a stored delivery is answered, the first that applies; not written: 200 and nothing
	AckWithin    time.Duration `yaml:"ack_within"`    // how long the provider waits for its answer; not written: 5 s
	RetryHorizon time.Duration `yaml:"retry_horizon"` // for how long the provider sends a delivery again; not written: 15 m
	Redelivers   *bool         `yaml:"redelivers"`    // false: what was not accepted is lost; not written: true
	Varies       []string      `yaml:"varies"`        // pointers to the members of an event's JSON that differ between attempts of one delivery
	CausedBy     []string      `yaml:"caused_by"`     // pointers to the members of an event's JSON where the mark of a write of PlugFn's may stand
	KeepHeader   []string      `yaml:"keep_headers"`  // delivery headers that travel on as ce extensions
	Redeliver    *Redeliver    `yaml:"redeliver"`     // nil: what failed cannot be asked for again
	Sources      []string      `yaml:"sources"`       // pages of the provider that say so
	Unconfirmed  []string      `yaml:"unconfirmed"`   // what no page of the provider was found to say, in a few words each

	pack     *Pack
	pointers pointerSet // of all json sources above
	items    pointerSet // of all item sources
	outers   pointerSet // of all outer sources
	marks    pointerSet // of CausedBy
	unsigned bool       // some handshake comes without a signature
}

// EventNames says how a provider's names of events become names of parts with
// dots in between.
type EventNames struct {
	Without string `yaml:"without"` // a prefix that is left out, where it is there
	Dots    string `yaml:"dots"`    // characters that become dots, such as :/
}

// SecretKind is one of the secrets that an endpoint has. Secrets of the first
// kind are written as they are, those of another as name:secret.
type SecretKind struct {
	Name     string `yaml:"name"` // such as signing, verify_token
	Hint     string `yaml:"hint"` // where a person finds it
	Optional bool   `yaml:"optional"`
	Example  string `yaml:"example"` // what example deliveries have, where the secret is no key
}

// Verifier is one signature scheme with its parameters.
type Verifier struct {
	Scheme    string     `yaml:"scheme"`     // hmac, ed25519, ecdsa, rsa, jwt, token, basic, network, callback, none
	When      Conditions `yaml:"when"`       // what must be so, beside a signature that is present
	Hash      string     `yaml:"hash"`       // of hmac, ecdsa, rsa: sha1, sha256, sha512
	Key       string     `yaml:"key"`        // how the secret is written: utf8, hex, base64, base64url, whsec, whpk, spki
	Secret    string     `yaml:"secret"`     // kind of the secret; not written: the first
	Signature Signature  `yaml:"signature"`  // where it is and how it is written; of token, basic and jwt: where they are
	Timestamp *Timestamp `yaml:"timestamp"`  // nil: the sender signs no time
	Message   Message    `yaml:"message"`    // what is signed
	OrMessage Message    `yaml:"or_message"` // what some senders sign instead
	BodyHash  *BodyHash  `yaml:"body_hash"`  // nil: the signature covers no separate hash of the body
	Expect    Conditions `yaml:"expect"`     // what a genuine delivery has

	Certificate *Certificate `yaml:"certificate"` // rsa: the signer's, nil: the secret is the key
	Algorithms  []string     `yaml:"algorithms"`  // jwt: those that count
	Issuer      []Expected   `yaml:"issuer"`      // jwt: one of them
	Audience    []Expected   `yaml:"audience"`    // jwt: one of them
	JWKS        string       `yaml:"jwks"`        // jwt: URL of the issuer's keys; not written: the secret is the key
	Networks    []Network    `yaml:"networks"`    // network: where the sender is
	Call        *VerifyCall  `yaml:"call"`        // callback: what the provider is asked

	Also    []*Verifier `yaml:"also"`    // what has to pass as well
	Binding string      `yaml:"binding"` // body+time, body, origin, none; filled in; written only to be asserted

	addition bool     // it is one of Also
	answers  []string // charsets of the texts that handshakes sign with its hash, and maybe its key
}

// Signature is where a delivery bears its signature.
type Signature struct {
	From     Places `yaml:"from"`
	Split    string `yaml:"split"`    // separator of several candidates, "" for one
	Pick     string `yaml:"pick"`     // of key=value candidates, the key that counts
	Prefix   string `yaml:"prefix"`   // in front of the encoded bytes, required when set
	Encoding string `yaml:"encoding"` // hex, base64, base64url, raw
	Form     string `yaml:"form"`     // of ecdsa: der (default), raw (r and s)
}

// Timestamp is when a delivery says that it was sent.
type Timestamp struct {
	From      Source        `yaml:"from"`
	Split     string        `yaml:"split"`     // as for the signature
	Pick      string        `yaml:"pick"`      // as for the signature
	Format    string        `yaml:"format"`    // unix, unix_ms, rfc3339
	Tolerance time.Duration `yaml:"tolerance"` // each way, at most 15 m
}

// BodyHash is a hash of the body that the signature covers.
type BodyHash struct {
	From     Source `yaml:"from"`     // claim:, header: or query:
	Hash     string `yaml:"hash"`     // sha1, sha256, sha512
	Encoding string `yaml:"encoding"` // hex, base64, base64url
}

// Certificate is where a delivery says that the signer's certificate is. It is
// fetched from the hosts of the pack only.
type Certificate struct {
	From  Source        `yaml:"from"`
	Hosts []HostPattern `yaml:"hosts"` // such as sns.*.amazonaws.com: a * is one label
}

// VerifyCall is the request that asks the provider whether a delivery is its.
type VerifyCall struct {
	Method  string     `yaml:"method"` // GET, POST
	Path    string     `yaml:"path"`   // below http.base_url
	Auth    string     `yaml:"auth"`   // basic: the app's client id and secret; not written: none
	Body    CallBody   `yaml:"body"`   // a JSON object
	Success Predicate  `yaml:"success"`
	Example CallAnswer `yaml:"example"` // how the provider says yes and no, for trying things out
}

// Batch is where the events of a delivery are.
type Batch struct {
	Items []Source `yaml:"items"` // json:/pointer to the list; then item:/pointer to a list in each of its items
	Or    Source   `yaml:"or"`    // item:/pointer to the list inside an item that has not the second one of Items
	Max   int      `yaml:"max"`   // items of one delivery; not written: 1000
}

// TimeSource is where and how a delivery says when the event happened.
type TimeSource struct {
	From   Source `yaml:"from"`
	Format string `yaml:"format"` // unix, unix_ms, rfc3339
}

// Handshake is a request that the provider sends to test the endpoint.
type Handshake struct {
	Method  string     `yaml:"method"` // GET, HEAD, POST; not written: POST
	When    Conditions `yaml:"when"`   // all of them
	Signed  string     `yaml:"signed"` // required (default), optional (must be right if it is there), none
	Only    string     `yaml:"only"`   // pending: as long as the endpoint has not been confirmed
	Respond Respond    `yaml:"respond"`
	Learn   *Learn     `yaml:"learn"`   // the secret that the sender tells
	Confirm *Confirm   `yaml:"confirm"` // the address that has to be called
}

// Respond is an answer. Text from a request is echoed only when it is a short
// token, and never as something that a browser would run.
type Respond struct {
	Status  int               `yaml:"status"`  // not written: 200
	Text    Source            `yaml:"text"`    // the text to echo, as text/plain
	Charset string            `yaml:"charset"` // of what is echoed: token (default), base64, words
	JSON    Members           `yaml:"json"`    // members of a JSON object
	Headers map[string]Source `yaml:"headers"` // :: header name → text to echo
}

// Answer is what a stored delivery is answered.
type Answer struct {
	When   Conditions `yaml:"when"`   // not written: always
	Status int        `yaml:"status"` // not written: 200
	JSON   Members    `yaml:"json"`   // fixed values only
}

// Learn is a secret that the sender tells in a handshake.
type Learn struct {
	From Source `yaml:"from"`
	Kind string `yaml:"kind"` // not written: the first
}

// Confirm is an address that a handshake asks to be called. It is called on the
// hosts of the pack only.
type Confirm struct {
	From  Source        `yaml:"from"`
	Hosts []HostPattern `yaml:"hosts"`
}
