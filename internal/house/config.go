package house

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth"
)

// Config is what a process is made with. The program fills it from its settings,
// whose defaults stand in its table; here zero means what is said.
type Config struct {
	Log     zerolog.Logger  // zero: no log
	Tracer  *tracing.Tracer // nil: no traces
	Version string          // for metrics
	// Origin says where the setting of a key was made, for errors; nil: the key.
	Origin func(key string) string

	DataDir      string           // for everything that is kept in files; needed
	ProvidersDir string           // packs beside the built-in ones; "": none
	KeysetFile   string           // "": in DataDir
	Wrapper      auth.Wrapper     // of the keyset; nil: it is not wrapped
	APIKey       providers.Secret // zero: one is made in DataDir

	HTTPAddr  string   // NoHTTP: nothing listens, see [House.Handler]
	PublicURL string   // "": the address that is listened at, if it is this machine's own
	ReturnTo  []string // nil: nowhere

	NATSAddr       string // of the embedded server, see [bus.Config]
	NATSURL        string // "": the server is embedded
	NATSCreds      string
	NATSNKey       string
	NATSSecure     bool
	Role           string // the only one that this process has on the bus of NATSURL, that of its one service; "": admin as well, which declares what is stored
	Durability     bus.Durability
	StreamMaxBytes int64
	MayBeAway      bool // a server of NATSURL need not be there at the start

	IngressMaxInFlight  int
	IngressMaxBytes     int64
	IngressRate         int
	SpoolDir            string // "": depends on where the bus is; "-": none
	SpoolMaxBytes       int64
	ExecutorMaxInFlight int
	ExecutorMaxPerUser  int
	RedisURL            providers.Secret // that keeps the limits; zero: the process does
	AllowPrivate        []netip.Prefix   // nil: public addresses only
	DrainTimeout        time.Duration
	HealEvery           time.Duration // 0: never
	SchedulesPerUser    int
	WorkflowsPerUser    int
	RunsPerUser         int
	StepsPerUser        int
}

// NoHTTP as the address has nothing listen.
const NoHTTP = "-"

func (c *Config) origin(key string) string {
	if c.Origin == nil {
		return key
	}
	return c.Origin(key)
}
