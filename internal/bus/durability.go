package bus

import "fmt"

// Durability says what it takes to lose a message that was acknowledged. The
// zero value is Single.
type Durability string

// The durability modes, weakest first. [Durability.Describe] says what each
// promises.
const (
	Dev    Durability = "dev"
	Single Durability = "single"
	HA     Durability = "ha"
	Strict Durability = "strict"
)

// ParseDurability reads the name of a mode; the empty string is Single.
func ParseDurability(s string) (Durability, error) {
	switch d := Durability(s); d {
	case "":
		return Single, nil
	case Dev, Single, HA, Strict:
		return d, nil
	default:
		return "", fmt.Errorf("durability %q: must be dev, single, ha or strict", s)
	}
}

// String returns the name of the mode.
func (d Durability) String() string {
	if d == "" {
		return string(Single)
	}
	return string(d)
}

// Describe says in one line what an acknowledged message survives.
func (d Durability) Describe() string {
	switch d {
	case Dev:
		return "one copy, on disk within two minutes: a killed process loses nothing, a power cut may"
	case HA:
		return "three copies on three servers: the loss of one server loses nothing, a power cut of all at once may"
	case Strict:
		return "three copies, each on disk first: a power cut of all servers loses nothing, if they run with sync_interval: always"
	default:
		return "one copy, on disk first: a power cut loses nothing, the loss of the disk does"
	}
}

// Replicas is the number of copies that a stream or bucket has: 1 or 3.
func (d Durability) Replicas() int {
	if d == HA || d == Strict {
		return 3
	}
	return 1
}

// syncAlways reports whether the embedded server syncs every write to disk
// before it acknowledges it.
func (d Durability) syncAlways() bool { return d != Dev && d != HA }
