package bus

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// The buckets beside [events.BucketConnections].
const (
	// BucketJournal keeps what became of each action request. A record stays
	// eight days after its last change: longer than the request itself, so that
	// no redelivery finds its record gone.
	BucketJournal = "PLUGFN_JOURNAL"
	// BucketWaiting lists the requests that wait for a connection to work again.
	// Who waits longer than an hour is put on the list again.
	BucketWaiting = "PLUGFN_WAITING"
	// BucketLanes lists the users whose requests have a consumer of their own for
	// a while, because they are so many.
	BucketLanes = "PLUGFN_LANES"
	// BucketOrder keeps whose turn it is among the requests that are carried out
	// one after another, for as long as a request is kept.
	BucketOrder = "PLUGFN_ORDER"
	// BucketKeys keeps what proves that the encryption keys are the right ones.
	BucketKeys = "PLUGFN_KEYS"
	// BucketApps keeps the operator's OAuth clients, their secrets encrypted.
	BucketApps = "PLUGFN_APPS"
	// BucketEndpoints keeps the webhook endpoints of single connections, their
	// secrets and tokens encrypted.
	BucketEndpoints = "PLUGFN_ENDPOINTS"
	// BucketStates keeps attempts to connect an account while they last: an
	// hour at most, or as long as the message says that holds one.
	BucketStates = "PLUGFN_STATES"
	// BucketRevocations keeps the encrypted credentials of deleted connections
	// until their providers have taken them back, for a day at most.
	BucketRevocations = "PLUGFN_REVOCATIONS"
	// BucketUsers keeps the public keys of applications, by user.
	BucketUsers = "PLUGFN_USERS"
	// BucketLimits keeps the operator's overrides of the packs' limits.
	BucketLimits = "PLUGFN_LIMITS"
	// BucketHealing keeps what asking providers for failed deliveries has come
	// to, by connection.
	BucketHealing = "PLUGFN_HEALING"
	// BucketDeliveries says where in the events a delivery is, for as long as its
	// provider may send it again. Only those are in it that may come again after
	// [DedupeWindow].
	BucketDeliveries = "PLUGFN_DELIVERIES"
	// BucketSchedules keeps the schedules of users, and how far each has come.
	BucketSchedules = "PLUGFN_SCHEDULES"
	// BucketWorkflows keeps the workflows of users: which versions each has, and
	// whether it is enabled.
	BucketWorkflows = "PLUGFN_WORKFLOWS"
	// BucketDefinitions keeps the text of each version of a workflow.
	BucketDefinitions = "PLUGFN_DEFINITIONS"
	// BucketRuns keeps the runs of workflows, and how far each has come. Those that
	// have ended say how long they are kept.
	BucketRuns = "PLUGFN_RUNS"
	// BucketWaits lists the events that runs wait for.
	BucketWaits = "PLUGFN_WAITS"
	// BucketTurns keeps whose turn it is where few runs of a workflow may be under
	// way at once.
	BucketTurns = "PLUGFN_TURNS"
	// BucketPolls keeps what is known of what is looked for at providers.
	BucketPolls = "PLUGFN_POLLS"
)

// DedupeWindow is how long a stream remembers message ids. It costs some 150
// bytes of memory for each message; longer horizons are those of the journal and
// of BucketDeliveries.
const DedupeWindow = 15 * time.Minute

const (
	day = 24 * time.Hour

	bucketWindow = 2 * time.Minute
	keysMaxBytes = 1 << 20

	// statesMaxBytes is room for some 50,000 attempts within the hour. Whoever
	// may start them cannot fill the store beyond.
	statesAge      = time.Hour
	statesMaxBytes = 128 << 20
	appsMaxBytes   = 64 << 20

	endpointsMaxBytes = 256 << 20 // some hundred thousand

	// The audit remembers the last of each thing that was done with each
	// connection, so that frequent uses do not push out rare changes.
	auditAge  = 90 * day
	auditEach = 20

	revocationsAge      = day + time.Hour // the last attempt is after a day
	revocationsMaxBytes = 64 << 20
	healingMaxBytes     = 64 << 20 // a record has at most some 200 KiB
	usersMaxBytes       = 64 << 20 // some hundred thousand users
	limitsMaxBytes      = 1 << 20
	lanesMaxBytes       = 64 << 20 // a user who once had one leaves some 100 bytes

	pollsAge = 31 * day // since the last look

	// A server puts the room of all buckets and streams aside from the disk, so
	// that those which stay small say so.
	orderMaxBytes       = 128 << 20
	workflowsMaxBytes   = 64 << 20
	definitionsMaxBytes = 256 << 20
	waitsMaxBytes       = 256 << 20 // about a million
	turnsMaxBytes       = 64 << 20
	pollsMaxBytes       = 256 << 20 // a record has at most some 110 KiB

	deliveriesAge = 32 * day // each says for itself how long it is kept; packs allow 31 days
)

// declaration is one row of the table of what PlugFn keeps on the bus.
type declaration struct {
	name      string
	subjects  []string      // empty: a key-value bucket
	age       time.Duration // 0: for ever
	bytes     int64         // 0: as configured
	each      int64         // of one subject; 0: all
	batches   bool          // takes atomic batches
	expires   bool          // a message may say for itself how long it is kept
	schedules bool
}

func declarations() []declaration {
	return []declaration{
		{name: events.StreamActions, subjects: []string{events.PrefixAction + ">"}, age: 7 * day, batches: true},
		{name: events.StreamResults, subjects: []string{events.PrefixResult + ">"}, age: 7 * day, batches: true},
		{name: events.StreamEvents, subjects: []string{events.PrefixEvent + ">", events.PrefixConnection + ">"}, age: 7 * day, batches: true, expires: true},
		{name: events.StreamRuns, subjects: []string{events.PrefixRun + ">"}, age: 7 * day},
		{name: events.StreamDead, subjects: []string{events.PrefixDead + ">"}, age: 30 * day},
		{name: events.StreamAudit, subjects: []string{events.PrefixAudit + ">"}, age: auditAge, each: auditEach},
		{name: events.StreamPayloads, subjects: []string{events.PrefixPayload + ">"}, age: 8 * day, each: 1},
		{name: events.StreamLater, subjects: []string{events.PrefixLater + ">", events.PrefixDue + ">"}, schedules: true},
		{name: events.BucketConnections},
		{name: BucketJournal, age: 8 * day, batches: true},
		{name: BucketWaiting, age: time.Hour},
		{name: BucketLanes, bytes: lanesMaxBytes},
		{name: BucketOrder, age: 8 * day, bytes: orderMaxBytes},
		{name: BucketKeys, bytes: keysMaxBytes},
		{name: BucketRevocations, age: revocationsAge, bytes: revocationsMaxBytes},
		{name: BucketApps, bytes: appsMaxBytes},
		{name: BucketEndpoints, bytes: endpointsMaxBytes},
		{name: BucketStates, age: statesAge, bytes: statesMaxBytes, expires: true},
		{name: BucketUsers, bytes: usersMaxBytes},
		{name: BucketLimits, bytes: limitsMaxBytes},
		{name: BucketHealing, bytes: healingMaxBytes},
		{name: BucketDeliveries, age: deliveriesAge, batches: true, expires: true},
		{name: BucketSchedules, expires: true},                           // what is left of deleted ones
		{name: BucketWorkflows, bytes: workflowsMaxBytes, expires: true}, // the same
		{name: BucketDefinitions, bytes: definitionsMaxBytes, expires: true},
		{name: BucketRuns, expires: true},
		{name: BucketWaits, bytes: waitsMaxBytes, expires: true},
		{name: BucketTurns, bytes: turnsMaxBytes, expires: true},
		{name: BucketPolls, age: pollsAge, bytes: pollsMaxBytes},
	}
}

func (d declaration) isBucket() bool { return len(d.subjects) == 0 }

// stream is the name of the stream that holds the declared thing.
func (d declaration) stream() string {
	if d.isBucket() {
		return bucketPrefix + d.name
	}
	return d.name
}

// config is the whole shape of the stream.
func (d declaration) config(replicas int, maxBytes int64) jetstream.StreamConfig {
	if d.bytes > 0 {
		maxBytes = d.bytes
	}
	cfg := jetstream.StreamConfig{
		Name:               d.stream(),
		Subjects:           d.subjects,
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		MaxAge:             d.age,
		MaxBytes:           maxBytes,
		MaxMsgs:            -1,
		MaxMsgsPerSubject:  d.perSubject(),
		MaxMsgSize:         -1,
		MaxConsumers:       -1,
		Discard:            jetstream.DiscardNew, // a full stream refuses; it never forgets what it acknowledged
		Duplicates:         DedupeWindow,
		AllowDirect:        true,
		AllowAtomicPublish: d.batches,
		AllowMsgTTL:        d.expires,
		Compression:        jetstream.S2Compression, // of full blocks only, behind the writer's back
	}
	switch {
	case d.isBucket():
		d.asBucket(&cfg)
	case d.schedules:
		asSchedules(&cfg)
	}
	return cfg
}

func (d declaration) perSubject() int64 {
	if d.each == 0 {
		return -1
	}
	return d.each
}

// asBucket gives a stream the layout that every NATS client reads as a
// key-value bucket.
func (d declaration) asBucket(cfg *jetstream.StreamConfig) {
	cfg.Subjects = []string{"$KV." + d.name + ".>"}
	cfg.MaxMsgsPerSubject = 1
	cfg.Duplicates = bucketWindow
	cfg.AllowRollup = true
	cfg.DenyDelete = true
	cfg.Compression = jetstream.NoCompression // old values leave holes, and a block with holes is rewritten
}

// asSchedules lets a stream hold schedules. Such a stream cannot refuse when
// it is full, it would drop its oldest schedules: so it has no limit of its
// own, and [Bus.Park] looks at its size.
func asSchedules(cfg *jetstream.StreamConfig) {
	cfg.Discard = jetstream.DiscardOld
	cfg.MaxBytes = -1
	cfg.AllowMsgSchedules = true
	cfg.AllowMsgTTL = true
	cfg.AllowRollup = true
	cfg.Compression = jetstream.NoCompression
}
