package events

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// ErrPayloadTooLong says that there is more to store than is allowed.
var ErrPayloadTooLong = errors.New("there is more than may be stored")

// StoreError is why data was not stored that could be read.
type StoreError struct{ Err error }

// Error says what was being done.
func (e *StoreError) Error() string { return "storing a payload: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *StoreError) Unwrap() error { return e.Err }

// Copy stores what from has, at most limit bytes, for a user. It holds one piece
// in memory. The error is ErrPayloadTooLong, a *StoreError, or what reading gave;
// pieces that are stored by then go as old payloads do.
//
// A payload of its own is made each time: its subject is random, not the hash.
func (p Payloads) Copy(ctx context.Context, user string, from io.Reader, limit int64) (PayloadRef, error) {
	place := make([]byte, sha256.Size)
	_, _ = rand.Read(place) // it does not fail
	ref := PayloadRef{Subject: PrefixPayload + Token(user) + "." + hex.EncodeToString(place)}
	sum := sha256.New()
	piece := make([]byte, payloadPiece)
	for i := 0; ; i++ {
		n, err := io.ReadFull(from, piece)
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return ref, err
		}
		if ref.Size += int64(n); ref.Size > limit {
			return ref, ErrPayloadTooLong
		}
		if n > 0 || i == 0 {
			sum.Write(piece[:n])
			if err := p.store(ctx, ref.piece(i), piece[:n]); err != nil {
				return ref, &StoreError{err}
			}
		}
		if end {
			ref.SHA256 = hex.EncodeToString(sum.Sum(nil))
			return ref, nil
		}
	}
}

// Open reads a payload of at most limit bytes piece by piece. Reading fails with
// ErrPayloadGone where it is not stored (any more). What is not what ref says is
// an error as well, but one that may come after the last byte only: see Verify.
// ctx is for the reading, too.
func (p Payloads) Open(ctx context.Context, ref PayloadRef, limit int64) (io.Reader, error) {
	if err := ref.check(limit); err != nil {
		return nil, err
	}
	return &payloadReader{ctx: ctx, payloads: p, ref: ref, sum: sha256.New()}, nil
}

// Verify reads a payload to its end and says what is wrong with it.
func (p Payloads) Verify(ctx context.Context, ref PayloadRef, limit int64) error {
	r, err := p.Open(ctx, ref, limit)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

// payloadReader reads one payload.
type payloadReader struct {
	ctx      context.Context //nolint:containedctx // io.Reader has no place for it
	payloads Payloads
	ref      PayloadRef
	sum      hash.Hash
	next     int    // piece
	read     int64  // bytes, of the pieces so far
	rest     []byte // of the piece in hand
	err      error  // that it ended with
}

// Read implements [io.Reader].
func (r *payloadReader) Read(into []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.err = r.advance()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(into, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// advance fetches the next piece. A piece is given away only when all before it
// and it are not longer than they should be; the last one when the hash is right.
func (r *payloadReader) advance() error {
	if r.read == r.ref.Size && r.next > 0 {
		return io.EOF
	}
	piece, err := r.payloads.load(r.ctx, r.ref.piece(r.next))
	if err != nil {
		return err
	}
	r.next++
	r.read += int64(len(piece))
	if len(piece) == 0 && r.ref.Size > 0 || r.read > r.ref.Size {
		return errors.New("the payload has not the length that it should have")
	}
	r.sum.Write(piece)
	if r.read == r.ref.Size && hex.EncodeToString(r.sum.Sum(nil)) != r.ref.SHA256 {
		return errors.New("the payload has not the hash that it should have")
	}
	r.rest = piece
	return nil
}
