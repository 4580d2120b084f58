package repeats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/commit"
	"github.com/plugfn/plugfn/pkg/events"
)

// The bounds of what is being remembered.
const (
	maxWaiting = 16 << 10
	maxAtOnce  = 64 // that are being written

	writeTimeout = 5 * time.Second
	writePause   = 500 * time.Millisecond
	writeTries   = 20
	lastTimeout  = 3 * time.Second // for what waits when Run is to end
)

// Config says where a Memory is.
type Config struct {
	JetStream jetstream.JetStream
	Grouped   bool // as of [commit.Config]
	Log       zerolog.Logger
}

// Memory knows which deliveries are stored, and where. It is safe for concurrent
// use.
type Memory struct {
	Config
	store *commit.Store
	news  chan place
	lost  zerolog.Logger // sampled
}

// place is where the event of a delivery is.
type place struct {
	id       string
	sequence uint64
	kept     time.Duration
}

// New makes a Memory. What it is told is written down while Run runs.
func New(cfg Config) (*Memory, error) {
	if cfg.JetStream == nil {
		return nil, errors.New("repeats: JetStream is needed")
	}
	store, err := commit.New(commit.Config{JetStream: cfg.JetStream, Grouped: cfg.Grouped})
	if err != nil {
		return nil, fmt.Errorf("repeats: %w", err)
	}
	return &Memory{
		Config: cfg, store: store, news: make(chan place, maxWaiting),
		lost: cfg.Log.Sample(&zerolog.BurstSampler{Burst: 1, Period: 10 * time.Second}),
	}, nil
}

// key is where it is written down for a Nats-Msg-Id.
func key(id string) string {
	return "$KV." + bus.BucketDeliveries + "." + strings.ReplaceAll(id, ":", "/")
}

// Find returns where the event with a Nats-Msg-Id was stored, 0 where that is not
// known.
func (m *Memory) Find(ctx context.Context, id string) (uint64, error) {
	const api = jetstream.DefaultAPIPrefix + "DIRECT.GET.KV_" + bus.BucketDeliveries + "."
	reply, err := m.JetStream.Conn().RequestWithContext(ctx, api+key(id), nil)
	if err != nil {
		return 0, fmt.Errorf("looking for a delivery that came before: %w", err)
	}
	switch status := reply.Header.Get("Status"); status {
	case "":
	case "404":
		return 0, nil
	default:
		return 0, fmt.Errorf("looking for a delivery that came before: %s %s", status, reply.Header.Get("Description"))
	}
	sequence, err := strconv.ParseUint(string(reply.Data), 10, 64)
	if err != nil {
		return 0, nil //nolint:nilerr // nothing that was written here: nothing is known
	}
	return sequence, nil
}

// Event reads the event that is stored at a sequence, nil where there is none
// with this Nats-Msg-Id.
func (m *Memory) Event(ctx context.Context, sequence uint64, id string) (*nats.Msg, error) {
	const api = jetstream.DefaultAPIPrefix + "DIRECT.GET." + events.StreamEvents
	reply, err := m.JetStream.Conn().RequestWithContext(ctx, api, fmt.Appendf(nil, `{"seq":%d}`, sequence))
	if err != nil {
		return nil, fmt.Errorf("reading event %d: %w", sequence, err)
	}
	switch status := reply.Header.Get("Status"); {
	case status == "404", status == "" && reply.Header.Get(jetstream.MsgIDHeader) != id:
		return nil, nil //nolint:nilnil // there is none
	case status != "":
		return nil, fmt.Errorf("reading event %d: %s %s", sequence, status, reply.Header.Get("Description"))
	}
	return reply, nil
}

// Add remembers where the event with a Nats-Msg-Id is, for a time. It does not
// wait. What cannot be written down is forgotten, and logged.
func (m *Memory) Add(id string, sequence uint64, kept time.Duration) {
	select {
	case m.news <- place{id, sequence, kept}:
	default:
		m.forget(errors.New("too many wait to be written down"))
	}
}

func (m *Memory) forget(err error) {
	m.lost.Warn().Err(err).Msg("a delivery is not remembered: if its provider sends it again later, its event comes twice")
}

// Run writes down what Add is told until ctx ends, and then what is left.
func (m *Memory) Run(ctx context.Context) {
	defer m.store.Wait()
	var writing errgroup.Group
	writing.SetLimit(maxAtOnce)
	defer writing.Wait() //nolint:errcheck // they return none
	for {
		select {
		case p := <-m.news:
			writing.Go(func() error { m.write(ctx, p); return nil })
		case <-ctx.Done():
			m.finish(&writing)
			return
		}
	}
}

// finish writes down what waits.
func (m *Memory) finish(writing *errgroup.Group) {
	ctx, cancel := context.WithTimeout(context.Background(), lastTimeout)
	defer cancel()
	for {
		select {
		case p := <-m.news:
			writing.Go(func() error {
				if err := m.try(ctx, p); err != nil {
					m.forget(err)
				}
				return nil
			})
		default:
			_ = writing.Wait() // it returns none
			return
		}
	}
}

// write does so, again and again for a while.
func (m *Memory) write(ctx context.Context, p place) {
	for tried := 1; ; tried++ {
		err := m.try(context.WithoutCancel(ctx), p)
		if err == nil {
			return
		}
		if tried == writeTries || isRefused(err) {
			m.forget(err)
			return
		}
		select {
		case <-ctx.Done():
			m.forget(err)
			return
		case <-time.After(writePause):
		}
	}
}

// isRefused tells a bucket that does not take it from a bus that is away.
func isRefused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api)
}

func (m *Memory) try(ctx context.Context, p place) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	msg := nats.NewMsg(key(p.id))
	msg.Data = strconv.AppendUint(nil, p.sequence, 10)
	msg.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(p.kept/time.Second), 10)+"s")
	_, err := m.store.Publish(ctx, msg)
	return err
}
