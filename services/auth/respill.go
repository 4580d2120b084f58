package auth

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// unspillAll brings to the bus what an earlier process could only write to disk.
// It returns when all of it is there, or the service gives up.
func (f *refresher) unspillAll() {
	found, err := f.spill.load()
	if err != nil {
		f.log.Error().Err(err).Msg("spilled credentials cannot be read")
	}
	f.unkept.Add(int64(len(found)))
	for _, one := range found {
		if f.working.Err() != nil {
			return
		}
		f.bringBack(one)
		f.unkept.Add(-1)
	}
}

// bringBack writes one spilled record, unless a later credential stands there.
func (f *refresher) bringBack(one spilled) {
	r, err := decodeRecord(one.Key, one.Record)
	if err != nil {
		f.log.Error().Err(err).Msg("spilled credential cannot be read")
		return
	}
	log := f.log.With().Str("connection", r.ID).Str("provider", r.Provider).Logger()
	written, err := f.keep(one.Key, 0, &r)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		log.Warn().Msg("spilled credential dropped: its connection is deleted")
	case err != nil:
		log.Error().Err(err).Msg("spilled credential stays on disk")
		return
	case written.Fence != r.Fence:
		log.Warn().Msg("spilled credential dropped: a later one is kept")
	default:
		log.Info().Msg("spilled credential is back")
		f.announce(f.working, written.Connection, events.Refreshed, written.revision)
		if err := f.scheduleNext(f.working, &written.record); err != nil {
			log.Warn().Err(err).Msg("next refresh not scheduled yet")
		}
	}
	if err := f.spill.remove(one.Key, &r); err != nil {
		log.Warn().Err(err).Msg("spilled credential not removed")
	}
}
