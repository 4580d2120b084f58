package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// Hasten has what is parked under a schedule, see [events.LaterSubject], fire
// at another time. It reports false when nothing is parked there any more, or
// something else at this moment.
func (b *Bus) Hasten(ctx context.Context, schedule string, at time.Time) (bool, error) {
	moved, err := b.hasten(ctx, schedule, at)
	if err != nil {
		return false, fmt.Errorf("hastening %s: %w", schedule, err)
	}
	return moved, nil
}

func (b *Bus) hasten(ctx context.Context, schedule string, at time.Time) (bool, error) {
	stream, err := b.js.Stream(ctx, events.StreamLater)
	if err != nil {
		return false, err
	}
	raw, err := stream.GetLastMsgForSubject(ctx, schedule)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	msg := &nats.Msg{Subject: schedule, Header: travelling(raw.Header), Data: raw.Data}
	for _, name := range []string{
		HeaderTarget, headerNonce, jetstream.ScheduleTargetHeader, jetstream.ScheduleTTLHeader, jetstream.MsgTTLHeader,
	} {
		msg.Header.Set(name, raw.Header.Get(name))
	}
	msg.Header.Set(jetstream.ScheduleHeader, "@at "+at.UTC().Format(time.RFC3339Nano))
	_, err = b.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequenceForSubject(raw.Sequence, schedule))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return false, nil
	}
	return err == nil, err
}
