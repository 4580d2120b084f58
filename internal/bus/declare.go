package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/nats-io/nats.go/jetstream"
)

// Declare makes the streams and buckets of the wire contract, and brings those
// that exist up to the configuration. Only the admin may; Open has called it
// for him, and it may be called again.
//
// It never deletes a message: limits of age, number and copies are raised and
// not lowered, and a lower MaxBytes refuses new messages until there is room.
// What it does not own, such as placement, sources and metadata, it leaves
// alone. A stream whose shape cannot be changed without loss is an error that
// names the stream and the field.
func (b *Bus) Declare(ctx context.Context) error {
	if b.cfg.Role != RoleAdmin {
		return fmt.Errorf("declaring streams: role %s may not do that: connect as %s", b.cfg.Role, RoleAdmin)
	}
	for _, d := range declarations() {
		if err := b.declare(ctx, d.config(b.cfg.Durability.Replicas(), b.cfg.MaxBytes)); err != nil {
			return fmt.Errorf("declaring stream %s: %w", d.stream(), b.explain(err))
		}
	}
	return nil
}

// errMissing says what to do about streams that a role may not make itself.
var errMissing = errors.New("streams are missing: start `plugfn serve` with the admin key once, or run `plugfn stream apply`")

// verify makes sure that what the role uses is there.
func (b *Bus) verify(ctx context.Context) error {
	for _, name := range b.cfg.Role.grants().streams {
		if err := b.verifyStream(ctx, name); err != nil {
			return b.blame(fmt.Errorf("asking for stream %s: %w", name, err))
		}
	}
	return nil
}

func (b *Bus) verifyStream(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return errMissing
	}
	return err
}

func (b *Bus) declare(ctx context.Context, want jetstream.StreamConfig) error {
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = b.js.CreateStream(ctx, want); !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
		stream, err = b.js.Stream(ctx, want.Name) // another process was faster
	}
	if err != nil {
		return err
	}
	have := stream.CachedInfo().Config
	if err := clash(have, want); err != nil {
		return err
	}
	next := merged(have, want)
	if reflect.DeepEqual(next, have) {
		return nil
	}
	_, err = b.js.UpdateStream(ctx, next)
	return err
}

// clash names the first field of have that stands in the way and that nobody
// can change on a stream that exists, or not without losing messages.
func clash(have, want jetstream.StreamConfig) error {
	for _, field := range []struct {
		name       string
		have, want any
		differs    bool
	}{
		{"retention", have.Retention, want.Retention, have.Retention != want.Retention},
		{"storage", have.Storage, want.Storage, have.Storage != want.Storage},
		{"mirror", have.Mirror != nil, false, have.Mirror != nil},
		{"subject_transform", have.SubjectTransform != nil, false, have.SubjectTransform != nil},
		{"sealed", have.Sealed, false, have.Sealed},
		{"persist_mode", have.PersistMode, want.PersistMode, have.PersistMode != want.PersistMode},
		{"allow_msg_counter", have.AllowMsgCounter, false, have.AllowMsgCounter},
		{"deny_purge", have.DenyPurge, false, have.DenyPurge && want.AllowRollup},
		{"deny_delete", have.DenyDelete, false, have.DenyDelete && want.AllowMsgSchedules},
		{"allow_msg_schedules", have.AllowMsgSchedules, false, have.AllowMsgSchedules && !want.AllowMsgSchedules},
	} {
		if field.differs {
			return fmt.Errorf("it exists with %s %v where PlugFn needs %v, which cannot be changed: save what you need from it (nats stream backup), remove it (nats stream rm %s) and start again", field.name, field.have, field.want, have.Name)
		}
	}
	return nil
}

// merged is have with what PlugFn owns set to want.
func merged(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	next := have
	next.Subjects = want.Subjects
	next.Replicas = max(have.Replicas, want.Replicas)
	next.MaxAge = higher(have.MaxAge, want.MaxAge)
	next.MaxMsgs = higher(have.MaxMsgs, want.MaxMsgs)
	next.MaxMsgsPerSubject = higher(have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	next.MaxBytes = want.MaxBytes
	next.Discard, next.DiscardNewPerSubject = want.Discard, false
	next.Duplicates = want.Duplicates
	next.AllowDirect = want.AllowDirect
	next.AllowRollup = have.AllowRollup || want.AllowRollup
	next.DenyDelete = have.DenyDelete || want.DenyDelete
	next.AllowMsgTTL = have.AllowMsgTTL || want.AllowMsgTTL
	next.AllowMsgSchedules = want.AllowMsgSchedules
	next.AllowAtomicPublish = have.AllowAtomicPublish || want.AllowAtomicPublish
	next.Compression = want.Compression
	next.NoAck = false
	return next
}

// higher returns the higher of two limits, where zero and less mean none.
func higher[T ~int64](a, b T) T {
	switch {
	case a <= 0:
		return a
	case b <= 0:
		return b
	default:
		return max(a, b)
	}
}

// The server's error codes that an operator can do something about.
const (
	codeNoPeers         jetstream.ErrorCode = 10005
	codeNoLeader        jetstream.ErrorCode = 10008
	codeNoStorage       jetstream.ErrorCode = 10047
	codeSubjectsOverlap jetstream.ErrorCode = 10065
	codeNoReplicas      jetstream.ErrorCode = 10074
)

// explain adds to an error of the server what to do about it.
func (b *Bus) explain(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case codeNoReplicas, codeNoPeers:
		return fmt.Errorf("%w: durability %s needs a cluster of %d servers with room: name it in PLUGFN_NATS_URL, or use single", err, b.cfg.Durability, b.cfg.Durability.Replicas())
	case codeNoStorage:
		return fmt.Errorf("%w: lower MaxBytes (%d for each stream), or give the account more storage", err, b.cfg.MaxBytes)
	case codeSubjectsOverlap:
		return fmt.Errorf("%w: another stream keeps plugfn subjects (nats stream ls), which PlugFn needs for itself", err)
	default:
		return err
	}
}
