package limiter

import (
	"strconv"
	"sync/atomic"

	"github.com/google/uuid"
)

// ids makes the ids of a store's permits: nobody else's are the same, and only
// the first costs random numbers. It is safe for concurrent use.
type ids struct {
	prefix string
	made   atomic.Uint64
}

func newIDs() *ids { return &ids{prefix: uuid.NewString() + "."} }

func (i *ids) next() string { return i.prefix + strconv.FormatUint(i.made.Add(1), 36) }
