package house

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
)

// spoolDir is where deliveries are kept while the bus is away; "" for nowhere.
// An embedded bus is away when this process is, and its disk is the same: there
// a spool has to be asked for.
func (p *Process) spoolDir() string {
	switch dir := p.cfg.SpoolDir; {
	case dir == "-", dir == "" && p.bus.Embedded():
		return ""
	case dir == "":
		return filepath.Join(p.cfg.DataDir, "spool")
	default:
		return dir
	}
}

// openSpool returns nil where there is none. close closes it.
func (p *Process) openSpool(ctx context.Context, log zerolog.Logger) (jetstream.JetStream, error) {
	dir := p.spoolDir()
	if dir == "" {
		level := zerolog.InfoLevel
		if p.bus.Embedded() {
			level = zerolog.DebugLevel // it is away when this process is
		}
		log.WithLevel(level).Str("spool", "none").Msg("deliveries are refused while the bus is away")
		return nil, nil //nolint:nilnil // no spool is no error
	}
	spool, err := bus.OpenSpool(ctx, bus.SpoolConfig{Log: log.Level(zerolog.WarnLevel), Dir: dir, MaxBytes: p.cfg.SpoolMaxBytes})
	if err != nil {
		return nil, &Trouble{
			What: "the spool does not open", Cause: err,
			Fix: "give PLUGFN_SPOOL_DIR a directory on a disk of this machine, or - for no spool",
		}
	}
	p.spool = spool
	log.Info().Str("spool", dir).Int64("max_bytes", p.cfg.SpoolMaxBytes).Msg("deliveries are kept here while the bus is away")
	return spool.JetStream(), nil
}

// busReadiness says whether the bus can be used. Where it is away, a process
// that only takes deliveries is ready as long as its spool has room: were it
// not, a load balancer would make an outage of the bus one of the ingress.
func (p *Process) busReadiness(roles []string) func(context.Context) error {
	if p.spool == nil || !IsOnlyIngress(roles) {
		return p.ready
	}
	return func(ctx context.Context) error {
		asking, cancel := context.WithTimeout(ctx, readyTimeout/2)
		defer cancel()
		err := p.ready(asking)
		if err == nil {
			return nil
		}
		size, sizeErr := p.spool.Size(ctx)
		if sizeErr != nil {
			return fmt.Errorf("%w, and %w", err, sizeErr)
		}
		if size.Bytes >= size.MaxBytes-spoolReserve {
			return fmt.Errorf("%w, and the spool is full", err)
		}
		return nil
	}
}

// spoolReserve is the room that a spool needs to count as having some: that of
// one large delivery.
const spoolReserve = 1 << 20

// notes are what an operator looks for who asks how this process stands.
func (p *Process) notes(roles []string) []note {
	notes := []note{{"durability", func(context.Context) string {
		return p.bus.Durability().String() + ", " + p.bus.Promise()
	}}}
	if slices.Contains(roles, RoleIngress) {
		notes = append(notes, note{"spool", p.spoolNote})
	}
	return notes
}

// notes say which deliveries are taken.
func (r *receiving) notes() []note {
	return []note{{"deliveries", func(context.Context) string { return cmp.Or(r.Unknown(), "taken at all endpoints") }}}
}

func (p *Process) spoolNote(ctx context.Context) string {
	if p.spool == nil {
		return "none, deliveries are refused while the bus is away; a provider that sends only once (GitHub) does not send them again"
	}
	size, err := p.spool.Size(ctx)
	if err != nil {
		return err.Error()
	}
	state := "bus connected"
	if err := p.bus.Ready(ctx); err != nil {
		state = "bus away"
	}
	return fmt.Sprintf("%d events wait, %d of %d bytes, %s", size.Messages, size.Bytes, size.MaxBytes, state)
}
