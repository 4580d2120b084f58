package plugfn

import (
	"context"
	"iter"
	"sync"
)

// MaxInFlight is how many requests of one batch are under way at most.
const MaxInFlight = 256

const usualInFlight = 16

// Batch has actions carried out, several at a time, and yields what came of each
// in the order of the requests: the result and error of [Client.Do]. One that
// fails does not stop the others. inFlight bounds how many are under way, and how
// many results wait for their turn; 0: 16, at most [MaxInFlight].
//
// Whoever stops before the end leaves what is under way to PlugFn, which carries
// it out; what was not begun is not. The same holds when ctx ends: each of the
// rest is then yielded with the reason.
func (c *Client) Batch(ctx context.Context, requests []Request, inFlight int) iter.Seq2[Result, error] {
	if inFlight <= 0 {
		inFlight = usualInFlight
	}
	return inOrder(ctx, min(inFlight, MaxInFlight), requests, c.Do)
}

// ended is what came of one request.
type ended struct {
	result Result
	err    error
}

// inOrder does something for each request, places of them at a time, and yields
// what came of it in their order.
func inOrder(ctx context.Context, places int, requests []Request, do func(context.Context, Request) (Result, error)) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		gone := make(chan struct{}) // nobody takes results any more
		var doing sync.WaitGroup
		defer doing.Wait()
		defer stop()
		defer close(gone)
		turns := make(chan chan ended, places-1) // with the one in hand, as many as there are places
		doing.Go(func() {
			defer close(turns)
			for _, r := range requests {
				turn := make(chan ended, 1)
				select {
				case turns <- turn:
				case <-gone:
					return
				}
				doing.Go(func() {
					result, err := do(ctx, r)
					turn <- ended{result, err}
				})
			}
		})
		for turn := range turns {
			if e := <-turn; !yield(e.result, e.err) {
				return
			}
		}
	}
}
