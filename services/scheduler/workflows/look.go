package workflows

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Run follows the workflows, answers on the bus and looks after what is left of
// changes that broke off, until ctx ends and what is in hand is done. It returns
// an error only when it cannot go on.
func (s *Service) Run(ctx context.Context) error {
	open, err := s.serve()
	if err != nil {
		return fmt.Errorf("workflows: %w", err)
	}
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx)) // as long as anybody is answered
	var all sync.WaitGroup
	all.Go(func() { _ = s.mirror.Run(following) }) // which goes on whatever happens
	all.Go(func() { s.looking.Run(ctx) })
	<-ctx.Done()
	open.Close()
	unfollow()
	all.Wait()
	return nil
}

// look carries on with changes that broke off.
func (s *Service) look(ctx context.Context) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	var left []*record
	wanted := map[string]*record{} // :: key → one with a schedule that has to fire
	err = store.each(ctx, "", func(r *record) {
		switch {
		case r.Status == deleted && len(r.Versions) > 0:
			left = append(left, r)
		case r.schedule() != nil:
			wanted[r.key()] = r
		}
	})
	if err != nil {
		return err
	}
	for _, r := range left {
		err = errors.Join(err, s.sweep(ctx, r))
	}
	return errors.Join(err, s.reconcile(ctx, wanted))
}
