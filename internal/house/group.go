package house

import (
	"context"
	"errors"
)

// runGroup runs tasks at the same time. The first to return, with or without an
// error, ends the context of the others; runGroup returns when all have
// returned, with the errors of all of them.
func runGroup(ctx context.Context, tasks ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error)
	for _, task := range tasks {
		go func() { ends <- task(ctx) }()
	}
	var all []error
	for range tasks {
		all = append(all, <-ends)
		cancel()
	}
	return errors.Join(all...)
}
