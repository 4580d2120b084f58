package schedules

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	subject     = events.PrefixService + "scheduler.schedules."
	maxAsked    = 64 // requests answered at once
	deskTimeout = 10 * time.Second
)

// desk answers requests on the bus. Whose schedules they are about is in the
// subject, so that the broker decides who may ask.
type desk struct {
	*Service
	micro  micro.Service
	places chan struct{}
	wait   sync.WaitGroup
}

// asked is a request on the bus.
type asked struct {
	user, id string
	body     []byte
}

func (s *Service) serve() (*desk, error) {
	d := &desk{Service: s, places: make(chan struct{}, maxAsked)}
	var err error
	d.micro, err = micro.AddService(s.Conn, micro.Config{
		Name: "plugfn-scheduler", Version: "1.0.0", Description: "schedules", QueueGroup: "scheduler",
	})
	if err != nil {
		return nil, fmt.Errorf("serving %s: %w", subject, err)
	}
	for verb, answer := range map[string]func(context.Context, asked) (any, error){
		"create": d.onCreate, "list": d.onList, "get": d.onGet, "next": d.onNext, "amend": d.onAmend, "delete": d.onDelete,
		"pause": d.onPause, "resume": d.onResume, "run": d.onRun,
	} {
		tail := ".*" // the id
		if verb == "create" || verb == "list" {
			tail = ""
		}
		err := d.micro.AddEndpoint(verb, micro.HandlerFunc(func(r micro.Request) { d.take(r, answer) }),
			micro.WithEndpointSubject(subject+"*."+verb+tail))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serving %s: %w", subject, err), d.micro.Stop())
		}
	}
	return d, nil
}

// stop takes no more requests and waits for the answers in hand.
func (d *desk) stop() {
	if err := d.micro.Stop(); err != nil && !d.Conn.IsClosed() {
		d.Log.Warn().Err(err).Msg("stopping the service of schedules")
	}
	d.wait.Wait()
}

func (d *desk) take(r micro.Request, answer func(context.Context, asked) (any, error)) {
	// Anybody can put any subject there; this service may publish to more of them
	// than who asks.
	if err := events.CheckInbox(r.Reply()); err != nil && !strings.HasPrefix(r.Reply(), "_PLUGFN_INBOX.") {
		d.Log.Warn().Str("subject", r.Subject()).Msg("request without an inbox dropped")
		return
	}
	d.places <- struct{}{}
	d.wait.Go(func() {
		defer func() { <-d.places }()
		ctx, cancel := context.WithTimeout(context.Background(), deskTimeout)
		defer cancel()
		reply, err := d.answer(ctx, r, answer)
		if err != nil {
			reply = map[string]*api.Problem{"error": api.Explain(ctx, d.Log, asProblem(err))}
		}
		if err := r.RespondJSON(reply); err != nil {
			d.Log.Warn().Err(err).Msg("request about schedules not answered")
		}
	})
}

func (d *desk) answer(ctx context.Context, r micro.Request, answer func(context.Context, asked) (any, error)) (any, error) {
	parts := strings.Split(strings.TrimPrefix(r.Subject(), subject), ".")
	user, err := userOf(parts[0], nats.Header(r.Headers()))
	if err != nil {
		return nil, err
	}
	if len(r.Data()) > api.MaxBody {
		return nil, invalid("body", "is longer than %d bytes", api.MaxBody)
	}
	a := asked{user: user, body: r.Data()}
	if len(parts) == 3 {
		a.id = parts[2]
	}
	return answer(ctx, a)
}

// userOf is the user that a token stands for. Where it is shortened, the header
// Plugfn-User has the whole, percent-encoded.
func userOf(token string, header nats.Header) (string, error) {
	if user, ok := events.Untoken(token); ok && user != "" {
		return user, nil
	}
	user, err := url.PathUnescape(events.HeaderValue(header, events.HeaderUser))
	if err != nil || user == "" || events.Token(user) != token {
		return "", invalid("header "+events.HeaderUser, "needed, because %q in the subject does not say who the user is", clip(token))
	}
	return user, nil
}

// read reads a body strictly; an empty one is an empty object.
func (a asked) read(into any) error {
	if len(bytes.TrimSpace(a.body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var field *json.UnmarshalTypeError
	switch {
	case err == nil && !d.More():
		return nil
	case errors.As(err, &field):
		return invalid(field.Field, "must be a JSON %s", field.Type)
	case err != nil && strings.HasPrefix(err.Error(), "json: unknown field "):
		return invalid("body", "has no field %s", clip(strings.TrimPrefix(err.Error(), "json: unknown field ")))
	default:
		return invalid("body", "must be a JSON object; times are written as 2026-01-02T15:04:05Z")
	}
}

func shown(r record, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return r.view(), nil
}

func (d *desk) onCreate(ctx context.Context, a asked) (any, error) {
	var p Plan
	if err := a.read(&p); err != nil {
		return nil, err
	}
	return shown(d.create(ctx, a.user, p))
}

func (d *desk) onGet(ctx context.Context, a asked) (any, error) {
	return shown(d.get(ctx, a.user, a.id))
}

func (d *desk) onPause(ctx context.Context, a asked) (any, error) {
	return shown(d.pause(ctx, a.user, a.id))
}

func (d *desk) onResume(ctx context.Context, a asked) (any, error) {
	return shown(d.resume(ctx, a.user, a.id))
}

func (d *desk) onRun(ctx context.Context, a asked) (any, error) {
	return shown(d.run(ctx, a.user, a.id))
}

func (d *desk) onAmend(ctx context.Context, a asked) (any, error) {
	var change Amendment
	if err := a.read(&change); err != nil {
		return nil, err
	}
	return shown(d.amend(ctx, a.user, a.id, &change))
}

func (d *desk) onDelete(ctx context.Context, a asked) (any, error) {
	return struct{}{}, d.remove(ctx, a.user, a.id)
}

// page is a list of schedules.
type page struct {
	Schedules  []View `json:"schedules" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Cursor of the next page; absent on the last one."`
}

func (s *Service) page(ctx context.Context, q query) (page, error) {
	all, next, err := s.list(ctx, q)
	p := page{Schedules: []View{}, NextCursor: next}
	for i := range all {
		p.Schedules = append(p.Schedules, all[i].view())
	}
	return p, err
}

func (d *desk) onList(ctx context.Context, a asked) (any, error) {
	q := query{User: a.user}
	if err := a.read(&q); err != nil {
		return nil, err
	}
	return d.page(ctx, q)
}

// preview is what is to come.
type preview struct {
	Ticks []Ahead `json:"ticks" nullable:"false"`
}

func (d *desk) onNext(ctx context.Context, a asked) (any, error) {
	wanted := struct {
		N int `json:"n"`
	}{N: defaultNext}
	if err := a.read(&wanted); err != nil {
		return nil, err
	}
	ticks, err := d.next(ctx, a.user, a.id, wanted.N)
	return preview{ticks}, err
}

// asProblem gives what is not there a status of its own: none of the codes is
// about schedules.
func asProblem(err error) error {
	if errors.Is(err, errNone) {
		return api.New(http.StatusNotFound, "", errNone.Error())
	}
	return err
}
