package ingress

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/providers"
)

// receive answers one request to /webhooks/{provider}.
func (s *Service) receive(w http.ResponseWriter, r *http.Request) { s.receiveFor(w, r, "") }

// receiveFor answers a request to the app's endpoint, or to the one with a token.
func (s *Service) receiveFor(w http.ResponseWriter, r *http.Request, token string) {
	pack, ok := s.Providers.Pack(r.PathValue("provider"))
	if !ok || pack.Webhooks == nil {
		s.refusals.add(r, http.StatusNotFound, noSuchProvider, s.Now())
		s.meter.refused(unnamed, http.StatusNotFound)
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	started := s.Now()
	rt := s.routeOf(pack, token)
	if !rt.pack.Webhooks.TakesMethod(r.Method) && !pack.Webhooks.TakesMethod(r.Method) {
		s.refusals.add(r, http.StatusMethodNotAllowed, "method", s.Now())
		s.meter.refused(pack.Name, http.StatusMethodNotAllowed)
		w.Header().Set("Allow", allowed(rt.pack, pack))
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	ctx, span := s.Tracer.Root(r.Context(), tracing.Receives, "webhook", pack.Name)
	defer span.End()
	a := s.take(ctx, w, r, rt, token, started)
	a.describe(span)
	took := s.Now().Sub(started)
	s.meter.answered(pack.Name, &a, took)
	if a.status >= 400 {
		s.refusals.add(r, a.status, a.reason, started)
		rt.log(s.refused.Warn()).Ctx(ctx).Int("status", a.status).Str("reason", a.reason).
			Int64("bytes", r.ContentLength).Msg("delivery refused")
	} else {
		rt.log(s.Log.Debug()).Ctx(ctx).Str("delivery", a.delivery).Str("event", a.event).Int("events", a.published).
			Dur("took", took).Msg("delivery stored")
	}
	a.write(w)
}

// allowed lists the methods that one of the packs takes.
func allowed(packs ...*providers.Pack) string {
	methods := slices.DeleteFunc([]string{http.MethodPost, http.MethodGet, http.MethodHead}, func(method string) bool {
		return !slices.ContainsFunc(packs, func(p *providers.Pack) bool { return p.Webhooks.TakesMethod(method) })
	})
	return strings.Join(methods, ", ")
}

// answer is what a sender is told, and for the log what was done.
type answer struct {
	status int
	body   []byte // empty: the status text for an error, nothing for a success
	// contentType is that of body; "": text/plain
	contentType string
	headers     map[string]string

	reason          string // of a refusal; never told to the sender
	delivery, event string
	kind            string // what the delivery is, if it holds no events; "": it does
	published       int
}

// describe says in the trace what was done.
func (a *answer) describe(span tracing.Span) {
	span.Count("http.response.status_code", a.status)
	span.Set("plugfn.delivery", a.delivery)
	span.Set("plugfn.event", a.event)
	span.Count("plugfn.events", a.published)
	if a.reason != "" {
		span.Fail(a.reason)
	}
}

// shake is the answer to a handshake, once what it asks for is done.
func (s *Service) shake(ctx context.Context, rt *route, reply *providers.HandshakeReply) answer {
	if !reply.Learn.IsZero() {
		if refusal := s.learn(ctx, rt, reply.Learn); refusal != nil {
			return *refusal
		}
	}
	if reply.Confirm != "" {
		if s.Confirm == nil {
			return refuse(http.StatusServiceUnavailable, "nobody confirms endpoints")
		}
		if err := s.Confirm(ctx, reply.Confirm); err != nil {
			rt.log(s.Log.Error()).Err(err).Msg("endpoint not confirmed")
			return refuse(http.StatusServiceUnavailable, "not confirmed")
		}
	}
	return answer{status: reply.Status, body: reply.Body, contentType: reply.ContentType, headers: reply.Headers, event: kindHandshake, kind: kindHandshake}
}

func refuse(status int, reason string) answer { return answer{status: status, reason: reason} }

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
		h.Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) //nolint:gosec // spreads the senders, protects nothing
	}
	body := a.body
	if a.status >= 400 {
		body, a.contentType = []byte(strings.ToLower(http.StatusText(a.status))+"\n"), ""
	}
	for name, value := range a.headers {
		h.Set(name, value)
	}
	if len(body) > 0 {
		h.Set("Content-Type", cmp.Or(a.contentType, "text/plain; charset=utf-8"))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body)
}

// take admits, reads and settles one delivery.
func (s *Service) take(ctx context.Context, w http.ResponseWriter, r *http.Request, rt *route, token string, now time.Time) answer {
	if !s.accepts(rt) {
		return refuse(http.StatusServiceUnavailable, "starting")
	}
	if !s.rates.take(rt.pack.Name, token, now) {
		return refuse(http.StatusTooManyRequests, "too many deliveries for this endpoint")
	}
	limit := bodyLimit(rt.pack)
	if r.ContentLength > limit {
		return refuse(http.StatusRequestEntityTooLarge, "body too large")
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return refuse(http.StatusUnsupportedMediaType, "content encoding")
	}
	body := body{budget: s.bytes, waste: &s.waste, pool: &s.pool}
	stored := false
	// What could not be stored may still be on its way to the bus.
	defer func() { body.release(stored) }()
	var tooLarge *http.MaxBytesError
	switch err := body.read(newSteady(w, http.MaxBytesReader(w, r.Body, limit)), r.ContentLength); {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "body too large")
	case errors.Is(err, errNoRoom):
		return refuse(http.StatusServiceUnavailable, "too many bytes in hand")
	case err != nil:
		return refuse(http.StatusBadRequest, "body broke off")
	}
	if !s.places.TryAcquire(1) {
		return refuse(http.StatusServiceUnavailable, "too many deliveries in hand")
	}
	defer s.places.Release(1)
	a := s.settle(ctx, rt, &providers.Delivery{
		Method: r.Method, URL: r.URL, Header: r.Header, Body: body.bytes, Peer: peerOf(r), ReceivedAt: now,
	})
	stored = a.published > 0
	return a
}

// maxBody is the largest body in bytes, whatever a pack allows: what a spool
// takes as one message.
const maxBody = 25 << 20

// peerOf is the address that the request came from: that of the connection. What
// a header says about it is the sender's word.
func peerOf(r *http.Request) netip.Addr {
	addr, _ := netip.ParseAddrPort(r.RemoteAddr)
	return addr.Addr().Unmap()
}

// bodyLimit is how many bytes a delivery of pack may have.
func bodyLimit(pack *providers.Pack) int64 { return min(int64(pack.Webhooks.MaxBody), maxBody) }

// settle verifies a delivery and stores what it says.
func (s *Service) settle(ctx context.Context, rt *route, d *providers.Delivery) answer {
	c, all := s.check(rt)
	if reply, ok := rt.pack.Webhooks.UnsignedHandshake(d, c); ok && (rt.isApp || rt.found) {
		return s.shake(ctx, rt, reply)
	}
	if d.Method != http.MethodPost {
		return refuse(http.StatusUnauthorized, "no handshake")
	}
	verdict, refusal := s.verify(ctx, rt, d, c, all)
	if refusal != nil {
		return *refusal
	}
	if !rt.isApp {
		s.Endpoints.Seen(rt.endpoint)
	}
	// That the sender hangs up is no reason to drop what is here in full: he may
	// not send it again.
	ctx = context.WithoutCancel(ctx)
	reading, err := rt.pack.Webhooks.Read(d)
	if errors.Is(err, providers.ErrContentType) {
		return refuse(http.StatusUnsupportedMediaType, "content type")
	}
	if err != nil {
		return s.keep(ctx, rt, d, verdict, err)
	}
	if reply, ok := reading.Handshake(c, verdict); ok {
		ctx, cancel := context.WithDeadline(ctx, answerBy(rt))
		defer cancel()
		return s.shake(ctx, rt, reply)
	}
	found, err := reading.Events()
	if err != nil {
		return s.keep(ctx, rt, d, verdict, err)
	}
	a := s.publish(ctx, rt, d, verdict, found)
	if a.status == http.StatusOK {
		reply := reading.Answer()
		a.status, a.body, a.contentType = reply.Status, reply.Body, reply.ContentType
	}
	return a
}

// answerBy is when the bus has to have answered: before the sender gives up on us.
func answerBy(rt *route) time.Time { return time.Now().Add(rt.pack.Webhooks.AckWithin * 4 / 5) }
