package events

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// MaxInline is the longest data in bytes that travels in its message. Longer
	// data is put into the stream StreamPayloads, and the message says where.
	MaxInline = 900 << 10

	// payloadPiece is the length of the messages that a payload is cut into.
	payloadPiece = 512 << 10

	// piecesAtOnce are on their way to the bus together: while it writes one, the
	// next ones travel.
	piecesAtOnce = 4
)

// PayloadRef says where a payload is, and what it has to be.
type PayloadRef struct {
	Subject string `json:"subject"` // the pieces of the payload are at Subject.0, Subject.1, …
	SHA256  string `json:"sha256"`  // in hex
	Size    int64  `json:"size"`    // in bytes
}

// ErrPayloadGone says that a payload is not stored any more.
var ErrPayloadGone = errors.New("the payload is not stored any more")

// Payloads keeps data that is too long for one message. Each payload belongs to
// a user, whose token is in its subject: who may not read a user's subjects does
// not get his payloads, even if he knows their hash.
//
// A payload stays a day longer than a message of the other streams, also when it
// was read. It is safe for concurrent use.
type Payloads struct{ Conn *nats.Conn }

// Put stores data of a user; NoUser's when the user is empty. To put the same
// data again is no error and keeps it longer.
func (p Payloads) Put(ctx context.Context, user string, data []byte) (PayloadRef, error) {
	return p.put(ctx, Token(user), data)
}

func (p Payloads) put(ctx context.Context, userToken string, data []byte) (PayloadRef, error) {
	sum := sha256.Sum256(data)
	ref := PayloadRef{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data))}
	ref.Subject = PrefixPayload + userToken + "." + ref.SHA256
	under, ctx := errgroup.WithContext(ctx)
	under.SetLimit(piecesAtOnce)
	for i, start := 0, 0; start == 0 || start < len(data) && ctx.Err() == nil; i, start = i+1, start+payloadPiece {
		piece := data[start:min(start+payloadPiece, len(data))]
		under.Go(func() error { return p.store(ctx, ref.piece(i), piece) })
	}
	if err := under.Wait(); err != nil {
		return ref, fmt.Errorf("storing a payload of %d bytes: %w", len(data), err)
	}
	return ref, nil
}

func (r PayloadRef) piece(i int) string { return r.Subject + "." + strconv.Itoa(i) }

func (p Payloads) store(ctx context.Context, subject string, piece []byte) error {
	reply, err := p.Conn.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: piece})
	if err != nil {
		return err
	}
	var ack struct {
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(reply.Data, &ack); {
	case err != nil || ack.Error == nil && ack.Stream == "":
		return errors.New("the answer is no acknowledgement")
	case ack.Error != nil:
		return ack.Error
	}
	return nil
}

// Get reads a payload of at most limit bytes. The error is ErrPayloadGone where
// it is not stored (any more); data that is not what ref says is an error.
func (p Payloads) Get(ctx context.Context, ref PayloadRef, limit int64) ([]byte, error) {
	r, err := p.Open(ctx, ref, limit)
	if err != nil {
		return nil, err
	}
	data := bytes.NewBuffer(make([]byte, 0, min(ref.Size, payloadPiece)))
	if _, err := data.ReadFrom(r); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

func (r PayloadRef) check(limit int64) error {
	user, hash, ok := strings.Cut(strings.TrimPrefix(r.Subject, PrefixPayload), ".")
	raw, err := hex.DecodeString(hash)
	if !ok || !strings.HasPrefix(r.Subject, PrefixPayload) || user == "" || err != nil || len(raw) != sha256.Size || len(r.Subject) > MaxSubject {
		return fmt.Errorf("%q is no reference to a payload", r.Subject)
	}
	for i := range len(user) {
		if c := user[i]; !isTokenByte(c) && c != '=' {
			return fmt.Errorf("%q is no reference to a payload", r.Subject)
		}
	}
	if r.Size < 0 || r.Size > limit {
		return fmt.Errorf("the payload has %d bytes, more than the limit of %d", r.Size, limit)
	}
	return nil
}

func (p Payloads) load(ctx context.Context, subject string) ([]byte, error) {
	reply, err := p.Conn.RequestWithContext(ctx, jetstream.DefaultAPIPrefix+"DIRECT.GET."+StreamPayloads+"."+subject, nil)
	if err != nil {
		return nil, fmt.Errorf("reading a payload: %w", err)
	}
	const found = "Nats-Subject"
	switch status := reply.Header.Get("Status"); {
	case status == "404":
		return nil, ErrPayloadGone
	case status != "" || reply.Header.Get(found) != subject:
		return nil, fmt.Errorf("reading a payload: %s %s", status, reply.Header.Get("Description"))
	}
	return reply.Data, nil
}

// Offload returns msg, or where its data is longer than MaxInline a copy whose
// data is stored as a payload of the user in its subject, and which says so. It
// does not change msg.
func (p Payloads) Offload(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	if len(msg.Data) <= MaxInline {
		return msg, nil
	}
	ref, err := p.put(ctx, userToken(msg.Subject), msg.Data)
	if err != nil {
		return nil, err
	}
	const added = 3
	h := make(nats.Header, len(msg.Header)+added)
	maps.Copy(h, msg.Header)
	ref.setHeader(h)
	return &nats.Msg{Subject: msg.Subject, Header: h}, nil
}

// setHeader says in h that the data of the message is at r.
func (r PayloadRef) setHeader(h nats.Header) {
	h[headerPrefix+attributeDataRef] = []string{r.Subject}
	h[headerPrefix+attributeDataHash] = []string{r.SHA256}
	h[headerPrefix+attributeDataSize] = []string{strconv.FormatInt(r.Size, 10)}
}

// userToken is the token of the user in a subject of the contract.
func userToken(subject string) string {
	rest, isDead := strings.CutPrefix(subject, PrefixDead)
	parts := strings.Split(rest, ".")
	at := 2 // plugfn.event.USER
	if isDead {
		at = 1 // plugfn.dead.KIND.USER
	}
	if at >= len(parts) || parts[at] == "" {
		return NoUser
	}
	return parts[at]
}

// Resolve fetches the data of an event whose data is a payload of at most limit
// bytes. It does nothing where the event has its data.
func (p Payloads) Resolve(ctx context.Context, e *Event, limit int64) error {
	if e.DataRef == (PayloadRef{}) {
		return nil
	}
	data, err := p.Get(ctx, e.DataRef, limit)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	e.Data, e.DataRef = data, PayloadRef{}
	return nil
}

// ResolveResult fetches the data of a result whose data is a payload of at most
// limit bytes. It does nothing where the result has its data, or none. On an
// error the result is what it was.
func (p Payloads) ResolveResult(ctx context.Context, r *Result, limit int64) error {
	if r.DataRef == nil {
		return nil
	}
	data, err := p.Get(ctx, *r.DataRef, limit)
	if err != nil {
		return fmt.Errorf("data of result %s: %w", r.ID, err)
	}
	if !json.Valid(data) {
		return fmt.Errorf("data of result %s: is not JSON", r.ID)
	}
	r.Data, r.DataRef = data, nil
	return nil
}

const (
	attributeDataRef  = "dataref"
	attributeDataHash = "datasha256"
	attributeDataSize = "datasize"
)
