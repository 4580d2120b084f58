package ingress

import (
	"context"
	"errors"
	"net/http"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// headerUnaddressed marks an event in the spool that came before it was known
// which connections there are. It is for nobody there, and gets its owners when
// it is forwarded.
const headerUnaddressed = "Plugfn-Unaddressed"

// accepts reports whether deliveries can be taken there now. As long as the bus
// was not reached since the start, nobody knows which endpoints of connections
// there are, what is stored of secrets, and whose an account is. Deliveries to the
// app's endpoint can be kept all the same, if a secret of the settings verifies
// them.
func (s *Service) accepts(rt *route) bool {
	if s.spool != nil && s.spool.Ready() != nil {
		return false
	}
	return s.known() == nil || rt.isApp && s.spool != nil
}

// keepUnaddressed puts the events of a delivery into the spool, without owners.
func (s *Service) keepUnaddressed(ctx context.Context, rt *route, d *providers.Delivery, verdict providers.Verdict, found []providers.Normalized) answer {
	if s.spool == nil {
		return refuse(http.StatusServiceUnavailable, "starting")
	}
	ctx, cancel := context.WithDeadline(ctx, answerBy(rt))
	defer cancel()
	for i := range found {
		n := &found[i]
		msg := eventMsg(ctx, rt, d, verdict, addressed{n, owner{}})
		msg.Header.Set(headerUnaddressed, "1")
		if err := s.spool.Keep(ctx, order(rt, n), msg); err != nil {
			rt.log(s.Log.Error()).Err(err).Str("delivery", n.ID).Msg("event not kept")
			return refuse(http.StatusServiceUnavailable, "spool does not keep")
		}
	}
	return answer{status: http.StatusOK, delivery: found[0].ID, event: found[0].Name, published: len(found)}
}

// forwardUnaddressed forwards an event of the spool to those who are its owners now.
func (s *Service) forwardUnaddressed(ctx context.Context, msg *nats.Msg) error {
	if !s.index.loaded.Load() {
		return errors.New("it is not known yet which connections there are")
	}
	header := events.CarriedHeader(msg.Header)
	header.Del(headerUnaddressed)
	e, err := events.ParseEvent(header, msg.Data)
	if err != nil {
		return err
	}
	owners := s.index.owners(e.Provider, e.Account)
	if len(owners) == 0 {
		owners = []owner{{}}
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(maxAtOnce)
	for _, o := range owners {
		mine := e
		all.Go(func() error { return s.forwardTo(ctx, given(&mine, msg.Subject, header, o)) })
	}
	return all.Wait()
}
