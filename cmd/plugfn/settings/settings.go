package settings

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Settings is what the operator has set, with the defaults filled in. The
// fields follow [Table].
type Settings struct {
	ConfigFile   string
	DataDir      string
	ProvidersDir string // "": only the built-in packs
	KeysetFile   string // "": in DataDir
	KEK          providers.Secret
	KEKCommand   string // "": none
	APIKey       providers.Secret

	HTTPAddr  string
	HTTPURL   string   // "": not set
	PublicURL string   // "": not set
	ReturnTo  []string // nil: nowhere

	NATSAddr       string
	NATSURL        string // "": not set
	NATSCreds      string
	NATSNKey       string // a seed file, or a directory with one for each role
	NATSSecure     bool
	Durability     bus.Durability
	StreamMaxBytes int64

	LogLevel  zerolog.Level
	LogFormat string // auto, json or pretty
	TraceFile string // "": none

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

	layers *layers
}

// Source is where values come from, strongest first.
type Source struct {
	Flags    map[string]string // :: name of a flag that was given → its value
	Environ  []string          // as of os.Environ
	Defaults map[string]string // :: key → default in place of the table's
}

// Load reads all settings. Its error names everything that is wrong, not only
// the first.
func Load(src Source) (*Settings, error) {
	s := &Settings{}
	var err error
	if s.layers, err = readLayers(src); err != nil {
		return nil, err
	}
	if err := s.fill(Table()); err != nil {
		return nil, err
	}
	return s, nil
}

// Origin returns where the setting with this key was made: a flag, a variable,
// or the file and its key. It is "" for what is left to its default.
func (s *Settings) Origin(key string) string { return s.layers.origins[key] }
