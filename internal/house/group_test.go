package house

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestGroupStopsAllWhenOneReturns(t *testing.T) {
	broken := errors.New("broken")
	late := errors.New("late")
	tests := []struct {
		name  string
		first func(context.Context) error
		want  []error
	}{
		{"with an error", func(context.Context) error { return broken }, []error{broken, late}},
		{"without one", func(context.Context) error { return nil }, []error{late}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			synctest.Test(t, func(t *testing.T) {
				var drained atomic.Bool
				err := runGroup(t.Context(), tt.first, func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(time.Minute) // the work in hand
					drained.Store(true)
					return late
				})
				if !drained.Load() {
					t.Error("returned before all tasks had")
				}
				for _, want := range tt.want {
					if !errors.Is(err, want) {
						t.Errorf("got %v, want %v in it", err, want)
					}
				}
			})
		})
	}
}

func TestGroupEndsWithItsContext(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
	time.AfterFunc(time.Millisecond, cancel)
	if err := runGroup(ctx, wait, wait, wait); err != nil {
		t.Error(err)
	}
}
