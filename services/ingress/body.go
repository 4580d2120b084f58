package ingress

import (
	"errors"
	"io"

	"golang.org/x/sync/semaphore"
)

// firstPiece is how much is made ready for a body before its first byte is
// there, whatever it announces.
const firstPiece = 16 << 10

var errNoRoom = errors.New("the bodies in hand fill their budget")

// body is a delivery's body, whose memory is counted against a budget as it
// comes in.
type body struct {
	bytes  []byte
	budget *semaphore.Weighted
	held   int64
}

// read reads all of r, in one piece where it is short. announced is negative
// where the sender does not say.
func (b *body) read(r io.Reader, announced int64) error {
	size := int64(firstPiece)
	if announced >= 0 {
		size = min(size, announced+1) // one more to see the end
	}
	for {
		if err := b.grow(size); err != nil {
			return err
		}
		for len(b.bytes) < cap(b.bytes) {
			n, err := r.Read(b.bytes[len(b.bytes):cap(b.bytes)])
			b.bytes = b.bytes[:len(b.bytes)+n]
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		size = int64(2 * cap(b.bytes))
		if announced >= 0 {
			size = max(min(size, announced+1), int64(cap(b.bytes)+1))
		}
	}
}

// grow makes room for size bytes in all.
func (b *body) grow(size int64) error {
	if !b.budget.TryAcquire(size) {
		return errNoRoom
	}
	grown := make([]byte, len(b.bytes), size)
	copy(grown, b.bytes)
	b.budget.Release(b.held)
	b.bytes, b.held = grown, size
	return nil
}

// release gives the memory back.
func (b *body) release() {
	b.budget.Release(b.held)
	b.bytes, b.held = nil, 0
}
