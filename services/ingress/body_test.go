package ingress

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/sync/semaphore"
)

func (b *body) mustRead(t *testing.T, r io.Reader, announced int64) {
	t.Helper()
	if err := b.read(r, announced); err != nil {
		t.Fatal(err)
	}
}

// TestBodyStillInUse gives a body back that somebody may still be sending.
func TestBodyStillInUse(t *testing.T) {
	budget, w, p := semaphore.NewWeighted(1<<20), waste{limit: 1 << 20}, pool{}
	for _, announced := range []int64{8 << 10, -1} {
		first := body{budget: budget, waste: &w, pool: &p}
		first.mustRead(t, bytes.NewReader(bytes.Repeat([]byte("a"), 8<<10)), announced)
		sent := first.bytes
		first.release(false)
		second := body{budget: budget, waste: &w, pool: &p}
		second.mustRead(t, bytes.NewReader(bytes.Repeat([]byte("b"), 8<<10)), announced)
		if i := bytes.IndexByte(sent, 'b'); i >= 0 {
			t.Errorf("announced %d: the next body is in the one still in use, from byte %d on", announced, i)
		}
		second.release(true)
	}
	if !budget.TryAcquire(1 << 20) {
		t.Error("the budget is not whole again")
	}
}

// TestBodyWaste fills a budget with a large body, given back and not collected.
func TestBodyWaste(t *testing.T) {
	const size = 2 << 20
	budget, w, p := semaphore.NewWeighted(3<<20), waste{limit: 8 << 20}, pool{}
	large := bytes.Repeat([]byte("a"), size)
	first := body{budget: budget, waste: &w, pool: &p}
	first.mustRead(t, bytes.NewReader(large), size)
	first.release(true)
	if budget.TryAcquire(size) {
		t.Fatal("memory that is not collected does not count any more")
	}
	second := body{budget: budget, waste: &w, pool: &p}
	second.mustRead(t, bytes.NewReader(large), size)
	if !bytes.Equal(second.bytes, large) {
		t.Error("the body is another")
	}
	third := body{budget: budget, waste: &w, pool: &p}
	if err := third.read(bytes.NewReader(large), size); err != errNoRoom { //nolint:errorlint // as it is
		t.Errorf("error %v, want %v", err, errNoRoom)
	}
	third.release(true)
	second.release(true)
	w.collect(budget)
	if !budget.TryAcquire(3 << 20) {
		t.Error("the budget is not whole again")
	}
}
