package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	sweepBatch   = 256 // records examined in one call
	sweepWorkers = 8
	maxFailures  = 20 // named in one answer
)

// sealedBucket is one row of the table of what is encrypted.
type sealedBucket struct {
	name string
	// values lists the encrypted values in a record, and where each belongs.
	// They must stand in the record in base64, as encoding/json writes bytes.
	values func(key string, value []byte) ([]sealedValue, error)
	// expires says that the records go away by themselves, within the hour: they
	// are counted and not rewritten, which would make them stay.
	expires bool

	kv jetstream.KeyValue // set by openSealed
}

// sealedValue is a ciphertext and its associated data.
type sealedValue struct{ text, place []byte }

// sealedBuckets is the table: what is not in it is lost when its key is
// destroyed.
func sealedBuckets() []sealedBucket {
	return []sealedBucket{
		{name: events.BucketConnections, values: connectionValues},
		{name: bus.BucketRevocations, values: revocationValues},
		{name: bus.BucketApps, values: appValues},
		{name: bus.BucketEndpoints, values: endpointValues},
		{name: bus.BucketStates, values: flowValues, expires: true},
	}
}

func connectionValues(key string, value []byte) ([]sealedValue, error) {
	r, err := decodeRecord(key, value)
	if err != nil {
		return nil, err
	}
	return oneValue(r.Credential, place(r.Connection, fieldCredential)), nil
}

func revocationValues(key string, value []byte) ([]sealedValue, error) {
	var r revocation
	if err := json.Unmarshal(value, &r); err != nil || recordKey(r.Connection) != key {
		return nil, errors.New("the record is not JSON of the known form, or belongs to another key")
	}
	return oneValue(r.Credential, place(r.Connection, fieldRevocation)), nil
}

// oneValue is the list of one value, or of none where there is nothing.
func oneValue(text, place []byte) []sealedValue {
	if len(text) == 0 {
		return nil
	}
	return []sealedValue{{text, place}}
}

func openSealed(ctx context.Context, js jetstream.JetStream) ([]sealedBucket, error) {
	rows := sealedBuckets()
	for i, row := range rows {
		kv, err := js.KeyValue(ctx, row.name)
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", row.name, err)
		}
		rows[i].kv = kv
	}
	return rows, nil
}

// census is how many encrypted values there are.
type census struct {
	under      map[uint32]int // :: id of a key → values under it
	unreadable int            // records in which none can be found
}

// count looks at every record there is.
func (k *Keys) count(ctx context.Context) (census, error) {
	found := census{under: map[uint32]int{}}
	for _, b := range k.sealed {
		seen := map[string][]uint32{} // a record that changes meanwhile comes twice
		err := scan(ctx, b.kv, allKeys, func(entry jetstream.KeyValueEntry) bool {
			seen[entry.Key()] = b.keysOf(entry)
			return true
		})
		if err != nil {
			return census{}, fmt.Errorf("counting what is encrypted: %w", err)
		}
		for _, ids := range seen {
			if ids == nil {
				found.unreadable++
			}
			for _, id := range ids {
				found.under[id]++
			}
		}
	}
	return found, nil
}

// keysOf returns the keys of the values in a record; nil if it is damaged.
func (b *sealedBucket) keysOf(entry jetstream.KeyValueEntry) []uint32 {
	values, err := b.values(entry.Key(), entry.Value())
	if err != nil {
		return nil
	}
	ids := make([]uint32, 0, len(values))
	for _, v := range values {
		id, ok := keyIDOf(v.text)
		if !ok {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// sweep is what one call of reencrypt has done.
type sweep struct {
	total     int // records that there are now
	examined  int
	rewritten int // or would have been, in a dry run
	failures  []sweepFailure
	next      string // where to go on; "": everything was examined
	broken    error  // the bus does not take writes
}

// sweepFailure is a record that stays as it is.
type sweepFailure struct {
	Record string `json:"record" doc:"Bucket and key."`
	Reason string `json:"reason" doc:"Why it stays as it is."`
}

// reencrypt examines the next records after a cursor, "" for the first ones,
// and has those under the primary key that are under another. A dry run only
// says which would be.
//
// It goes through a bucket in the order of writing, and each write goes to its
// end: what changes meanwhile is met again, and nothing is met for ever. It
// keeps no state: begun anew it passes by what is done.
func (k *Keys) reencrypt(ctx context.Context, cursor string, dry bool) (sweep, error) {
	i, after, err := k.position(cursor)
	if err != nil {
		return sweep{}, err
	}
	var done sweep
	for _, b := range k.sealed {
		status, err := b.kv.Status(ctx)
		if err != nil {
			return sweep{}, fmt.Errorf("counting records: %w", err)
		}
		done.total += int(status.Values())
	}
	b := k.sealed[i]
	if b.expires {
		done.next = k.next(i, 0, true)
		return done, nil
	}
	entries, last, err := b.batch(ctx, after)
	if err != nil {
		return sweep{}, fmt.Errorf("reading records: %w", err)
	}
	again := k.rewriteAll(ctx, &b, entries, dry, &done)
	if err := errors.Join(ctx.Err(), done.broken); err != nil {
		return sweep{}, fmt.Errorf("encrypting anew: %w", err)
	}
	if len(entries) > 0 {
		after = entries[len(entries)-1].Revision()
	}
	done.next = k.next(i, after, last && !again)
	return done, nil
}

// next is the cursor of what comes after a batch.
func (k *Keys) next(i int, after uint64, last bool) string {
	if last {
		i, after = i+1, 0
	}
	if i == len(k.sealed) {
		return ""
	}
	return k.sealed[i].name + "." + strconv.FormatUint(after, 10)
}

// position is the inverse of next.
func (k *Keys) position(cursor string) (i int, after uint64, err error) {
	if cursor == "" {
		return 0, 0, nil
	}
	name, number, _ := strings.Cut(cursor, ".")
	after, err = strconv.ParseUint(number, 10, 64)
	for i, b := range k.sealed {
		if b.name == name && err == nil {
			return i, after, nil
		}
	}
	return 0, 0, invalid("cursor", "is not one that this operation gave out: take next_cursor as it is")
}

// batch reads the records written after a revision, oldest first, and reports
// whether these were the last ones.
func (b *sealedBucket) batch(ctx context.Context, after uint64) (entries []jetstream.KeyValueEntry, last bool, err error) {
	last = true
	err = scan(ctx, b.kv, allKeys, func(entry jetstream.KeyValueEntry) bool {
		entries = append(entries, entry)
		last = len(entries) < sweepBatch
		return last
	}, jetstream.ResumeFromRevision(after+1))
	return entries, last, err
}

// rewriteAll rewrites the records of a batch, several at once, and reports
// whether others have changed some of them meanwhile.
func (k *Keys) rewriteAll(ctx context.Context, b *sealedBucket, entries []jetstream.KeyValueEntry, dry bool, done *sweep) (again bool) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	work := make(chan jetstream.KeyValueEntry)
	for range min(sweepWorkers, len(entries)) {
		wait.Go(func() {
			for entry := range work {
				rewritten, err := k.rewrite(ctx, b, entry, dry)
				mu.Lock()
				again = done.add(b, entry, rewritten, err) || again
				mu.Unlock()
			}
		})
	}
	for _, entry := range entries {
		work <- entry
	}
	close(work)
	wait.Wait()
	return again
}

// add notes what became of a record, and reports whether it was changed by
// others meanwhile.
func (done *sweep) add(b *sealedBucket, entry jetstream.KeyValueEntry, rewritten bool, err error) (again bool) {
	done.examined++
	switch {
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return true
	case errors.Is(err, errNotWritten):
		done.broken = err
	case err != nil && len(done.failures) < maxFailures:
		done.failures = append(done.failures, sweepFailure{Record: b.name + "/" + entry.Key(), Reason: err.Error()})
	case rewritten:
		done.rewritten++
	}
	return false
}

// rewrite has the values of a record under the primary key. Where the record is
// another one by now the error is jetstream.ErrKeyRevisionMismatch.
func (k *Keys) rewrite(ctx context.Context, b *sealedBucket, entry jetstream.KeyValueEntry, dry bool) (bool, error) {
	value, err := k.reseal(b, entry)
	if err != nil || value == nil {
		return false, err
	}
	if dry {
		return true, nil
	}
	if _, err := b.kv.Update(ctx, entry.Key(), value, entry.Revision()); err != nil {
		return false, fmt.Errorf("%w: %w", errNotWritten, err)
	}
	return true, nil
}

var errNotWritten = errors.New("writing the record")

// reseal returns the record with its values under the primary key; nil if all
// of them are. Everything else in it stays as it is, byte for byte: also what a
// later version has put there.
func (k *Keys) reseal(b *sealedBucket, entry jetstream.KeyValueEntry) ([]byte, error) {
	values, err := b.values(entry.Key(), entry.Value())
	if err != nil {
		return nil, err
	}
	primary := k.current.Load().record.primary()
	var record []byte
	for _, v := range values {
		if id, ok := keyIDOf(v.text); ok && id == primary {
			continue
		}
		if record == nil {
			record = bytes.Clone(entry.Value())
		}
		if record, err = k.resealOne(record, v); err != nil {
			return nil, err
		}
	}
	return record, nil
}

func (k *Keys) resealOne(record []byte, v sealedValue) ([]byte, error) {
	plain, err := k.primitive.Decrypt(v.text, v.place)
	if err != nil {
		return nil, k.whyNot(v.text)
	}
	defer clear(plain)
	sealed, err := k.primitive.Encrypt(plain, v.place)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	before, after := inBase64(v.text), inBase64(sealed)
	if bytes.Count(record, before) != 1 {
		return nil, errors.New("the encrypted value does not stand in the record once, in base64")
	}
	return bytes.Replace(record, before, after, 1), nil
}

// whyNot says why a ciphertext does not open.
func (k *Keys) whyNot(sealed []byte) error {
	id, ok := keyIDOf(sealed)
	s := k.current.Load().record.key(id)
	switch {
	case !ok:
		return errors.New("the value is damaged")
	case s == nil:
		return fmt.Errorf("key %d, which the value is under, does not exist", id)
	case s.Status == keyDisabled:
		return fmt.Errorf("key %d, which the value is under, is disabled: plugfn key enable %d", id, id)
	default:
		return fmt.Errorf("the value is damaged, or was copied here: key %d does not open it", id)
	}
}

func inBase64(raw []byte) []byte {
	return base64.StdEncoding.AppendEncode(nil, raw)
}
