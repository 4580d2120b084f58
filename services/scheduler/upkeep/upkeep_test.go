package upkeep

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestUpkeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var looks []time.Duration
		failures := 0
		u := New(time.Minute, func(context.Context) error {
			looks = append(looks, time.Since(began))
			if len(looks) == 2 {
				return errors.New("no")
			}
			return nil
		}, func(error) { failures++ })
		ctx, cancel := context.WithCancel(t.Context())
		go u.Run(ctx)
		time.Sleep(90 * time.Second)
		u.Soon()
		time.Sleep(31 * time.Second)
		cancel()
		synctest.Wait()
		// At the start; after a minute, which fails; soon after that; when it is asked for.
		if want := []time.Duration{0, time.Minute, 65 * time.Second, 90 * time.Second}; !slices.Equal(looks, want) || failures != 1 {
			t.Errorf("looked at %v, want %v, with %d failures", looks, want, failures)
		}
	})
}
