package ingress

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// firstPiece is how much is made ready for a body before its first byte is
	// there, whatever it announces.
	firstPiece = 16 << 10
	// smallBody is up to what size a body gets memory of its own rather than a
	// whole first piece.
	smallBody = 2 << 10
	// largeBody is from what size on the memory of a body is collected apart.
	largeBody = 1 << 20
)

var errNoRoom = errors.New("the bodies in hand fill their budget")

// body is a delivery's body, whose memory is counted against a budget as it
// comes in.
type body struct {
	bytes  []byte
	budget *semaphore.Weighted
	waste  *waste
	pool   *pool
	held   int64
	first  *[firstPiece]byte // of the pool; nil: none is used
}

// pool keeps the first pieces of bodies for the next ones.
type pool struct{ pieces sync.Pool }

func (p *pool) take() *[firstPiece]byte {
	if piece, ok := p.pieces.Get().(*[firstPiece]byte); ok {
		return piece
	}
	return new([firstPiece]byte)
}

// read reads all of r. announced is negative where the sender does not say.
//
// Who only announces a body holds next to nothing. Who has sent the first piece
// of it gets the room for all that he has announced at once, or none: with room
// for a part, many large bodies would get stuck half-way.
func (b *body) read(r io.Reader, announced int64) error {
	size := int64(firstPiece)
	if announced >= 0 && announced < smallBody {
		size = announced + 1 // one more to see the end
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
		if announced >= int64(cap(b.bytes)) {
			size = announced + 1
		}
	}
}

// grow makes room for size bytes in all.
func (b *body) grow(size int64) error {
	if !b.budget.TryAcquire(size) {
		if b.waste.collect(b.budget); !b.budget.TryAcquire(size) {
			return errNoRoom
		}
	}
	var grown []byte
	var first *[firstPiece]byte
	if size == firstPiece {
		first = b.pool.take()
		grown = first[:0]
	} else {
		grown = make([]byte, 0, size)
	}
	grown = append(grown, b.bytes...)
	b.release(true)
	b.bytes, b.held, b.first = grown, size, first
	return nil
}

// release gives the memory back. unused says that nobody has the bytes any more:
// then they may be those of the next body.
func (b *body) release(unused bool) {
	first, held := b.first, b.held
	b.bytes, b.held, b.first = nil, 0, nil
	if held >= largeBody {
		b.waste.add(held, b.budget)
		return
	}
	if first != nil && unused {
		b.pool.pieces.Put(first)
	}
	b.budget.Release(held)
}

// waste is the memory of large bodies that is free and not yet collected. It
// counts against the budget until it is: left to itself the collector lets as much
// pile up as is in use, which for large bodies is the whole budget once more.
type waste struct {
	limit int64

	bytes      atomic.Int64
	collecting sync.Mutex
}

// add returns once there is little waste.
func (w *waste) add(n int64, budget *semaphore.Weighted) {
	if w.bytes.Add(n) >= w.limit {
		w.collect(budget)
	}
}

// collect frees all waste.
func (w *waste) collect(budget *semaphore.Weighted) {
	w.collecting.Lock()
	defer w.collecting.Unlock()
	if n := w.bytes.Swap(0); n > 0 { // otherwise who was here before has done it
		runtime.GC()
		budget.Release(n)
	}
}

const (
	// bodyPatience is how long a sender may pause, and readRate how many bytes a
	// second he has to send in the long run.
	bodyPatience = 5 * time.Second
	readRate     = 256 << 10
	// deadlineStep is how much later the deadline of a read has to be for the
	// connection to be told, which costs something.
	deadlineStep = time.Second
)

// steady reads a body that has to keep coming in.
type steady struct {
	io.Reader
	connection http.ResponseController
	until      time.Time
	set        time.Time // what the connection has as its deadline
}

func newSteady(w http.ResponseWriter, r io.Reader) *steady {
	return &steady{Reader: r, connection: *http.NewResponseController(w), until: time.Now().Add(bodyPatience)}
}

func (s *steady) Read(p []byte) (int, error) {
	if s.until.Sub(s.set) > deadlineStep {
		_ = s.connection.SetReadDeadline(s.until) // not every server has one
		s.set = s.until
	}
	n, err := s.Reader.Read(p)
	s.until = s.until.Add(time.Duration(n) * time.Second / readRate)
	return n, err
}
