package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// watcher sees what passes on the bus and at the sandbox. It has a connection
// of its own.
type watcher struct {
	at place
	nc *nats.Conn
	js jetstream.JetStream
}

func watch(at place) (*watcher, error) {
	nc, err := nats.Connect(at.NATSURL, nats.Name("plugfn-demo"))
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	return &watcher{at: at, nc: nc, js: js}, nil
}

func (w *watcher) close() { w.nc.Close() }

// listener waits until a program listens to events by that name.
func (w *watcher) listener(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not listening within %s", startLimit))
	defer cancel()
	return poll(ctx, func() bool {
		_, err := w.js.Consumer(ctx, events.StreamEvents, name)
		return err == nil
	})
}

// first waits for the first message of a stream below prefix. Its time is when
// the bus stored it.
func (w *watcher) first(ctx context.Context, stream, prefix string) (jetstream.Msg, time.Time, error) {
	c, err := w.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{prefix + ">"}})
	if err != nil {
		return nil, time.Time{}, reason(ctx, err)
	}
	msg, err := c.Next(jetstream.FetchContext(ctx))
	if err != nil {
		return nil, time.Time{}, reason(ctx, err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, time.Time{}, err
	}
	return msg, meta.Timestamp, nil
}

// call is one request to the sandbox.
type call struct {
	Provider string        `json:"provider"`
	Action   string        `json:"action"`
	Method   string        `json:"method"`
	Path     string        `json:"path"`
	Status   int           `json:"status"`
	At       time.Time     `json:"at"`
	Duration time.Duration `json:"duration_ns"`
}

// calls lists what the sandbox was asked for.
func (w *watcher) calls(ctx context.Context) ([]call, error) {
	if w.at.SandboxURL == "" {
		return nil, errors.New("plugfn dev does not say where its sandbox is (sandbox_url in context.yaml)")
	}
	status, body, err := get(ctx, w.at.SandboxURL+"/_calls")
	if err != nil {
		return nil, reason(ctx, err)
	}
	var calls []call
	if err := json.Unmarshal(body, &calls); status != http.StatusOK || err != nil {
		return nil, fmt.Errorf("the sandbox answered %d without a list of calls", status)
	}
	return calls, nil
}

// reason is why ctx ended, if it did, and err otherwise.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
