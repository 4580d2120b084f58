package bus

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Assets returns the shape of every stream that PlugFn keeps, those of buckets
// as well, as [Bus.Declare] makes them: for who makes them by other means.
// maxBytes is that of [Config].
func Assets(d Durability, maxBytes int64) ([]jetstream.StreamConfig, error) {
	if maxBytes < maxPayload {
		return nil, fmt.Errorf("MaxBytes %d: must be at least %d, the size of one message", maxBytes, maxPayload)
	}
	var all []jetstream.StreamConfig
	for _, declared := range declarations() {
		all = append(all, declared.config(d.Replicas(), maxBytes))
	}
	return all, nil
}
