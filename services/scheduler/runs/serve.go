package runs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/desk"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const (
	subject = events.PrefixService + "scheduler.runs."

	defaultPage = 50
	maxPage     = 200
	maxRead     = 2_000 // records that one page looks at
	maxWait     = 8 * time.Second
	maxKey      = 256 // bytes
	maxReason   = 200 // bytes
)

// serve answers requests on the bus. Whose runs they are about is in the subject,
// so that the broker decides who may ask.
func (s *Service) serve() (*desk.Desk, error) {
	one := func(do func(ctx context.Context, user, run string, in input) (any, error)) func(context.Context, desk.Request) (any, error) {
		return func(ctx context.Context, r desk.Request) (any, error) {
			var in input
			if err := r.Read(&in); err != nil {
				return nil, err
			}
			return do(ctx, r.User, r.ID, in)
		}
	}
	return desk.Open(desk.Config{
		Conn: s.Conn, Log: s.Log, Name: "plugfn-scheduler-runs", Description: "runs of workflows", Subject: subject, Problem: asProblem,
		Verbs: []desk.Verb{
			{Name: "start", Answer: s.onStart},
			{Name: "list", Answer: s.onList},
			{Name: "get", Of: true, Answer: one(func(ctx context.Context, user, run string, _ input) (any, error) { return s.show(ctx, user, run) })},
			{Name: "logs", Of: true, Answer: one(func(ctx context.Context, user, run string, _ input) (any, error) { return s.logs(ctx, user, run) })},
			{Name: "wait", Of: true, Answer: one(func(ctx context.Context, user, run string, _ input) (any, error) {
				return s.wait(ctx, user, run, maxWait)
			})},
			{Name: "cancel", Of: true, Answer: one(func(ctx context.Context, user, run string, in input) (any, error) {
				if len(in.Reason) > maxReason {
					return nil, invalid("reason", "must be at most %d bytes", maxReason)
				}
				return shown(s.cancel(ctx, user, run, in.Reason))
			})},
			{Name: "retry", Of: true, Answer: one(func(ctx context.Context, user, run string, _ input) (any, error) {
				return shown(s.retry(ctx, user, run))
			})},
			{Name: "replay", Of: true, Answer: one(func(ctx context.Context, user, run string, in input) (any, error) {
				return shown(s.replay(ctx, user, run, in.Key))
			})},
		},
	})
}

// input is the body of what is asked for about one run.
type input struct {
	Reason string `json:"reason,omitempty" doc:"Of cancel: why, for whoever looks at the run." maxLength:"200"`
	Key    string `json:"key,omitempty" doc:"Of replay: the same key makes one run." maxLength:"256"`
}

// Order asks for a run.
type Order struct {
	Workflow string          `json:"workflow" doc:"Name of the workflow." minLength:"1" maxLength:"64"`
	Input    json.RawMessage `json:"input,omitempty" doc:"An object, as the workflow's input says."`
	Key      string          `json:"key,omitempty" doc:"The same key starts one run, for as long as that is kept." maxLength:"256"`
}

func shown(r *record, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return r.view(), nil
}

func (s *Service) onStart(ctx context.Context, r desk.Request) (any, error) {
	var o Order
	if err := r.Read(&o); err != nil {
		return nil, err
	}
	return shown(s.order(ctx, r.User, o))
}

// order starts a run by hand.
func (s *Service) order(ctx context.Context, user string, o Order) (*record, error) {
	if len(o.Key) > maxKey {
		return nil, invalid("key", "must be at most %d bytes", maxKey)
	}
	var object map[string]any
	if len(o.Input) > 0 && string(o.Input) != "null" && json.Unmarshal(o.Input, &object) != nil {
		return nil, invalid("input", "must be a JSON object")
	}
	return s.startByHand(ctx, user, o.Workflow, o.Key, o.Input)
}

// query selects a page of runs; an empty field stands for any.
type query struct {
	User     string         `json:"-"`
	Workflow string         `json:"workflow"`
	Status   machine.Status `json:"status"`
	Cursor   string         `json:"cursor"`
	Limit    int            `json:"limit"` // 0: 50
}

// page is a list of runs.
type page struct {
	Runs       []View `json:"runs" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Cursor of the next page; absent on the last one."`
}

func (s *Service) onList(ctx context.Context, r desk.Request) (any, error) {
	q := query{User: r.User}
	if err := r.Read(&q); err != nil {
		return nil, err
	}
	return s.list(ctx, q)
}

// list returns a page of runs, those that changed last first.
func (s *Service) list(ctx context.Context, q query) (page, error) {
	p := page{Runs: []View{}}
	before, err := q.check()
	if err != nil {
		return p, err
	}
	var all []head
	err = s.heads(ctx, q.filter(), func(h head) bool {
		if h.revision < before && (q.Status == "" || h.state == q.Status) {
			all = append(all, h)
		}
		return true
	})
	if err != nil {
		return p, err
	}
	slices.SortFunc(all, func(a, b head) int { return cmp.Compare(b.revision, a.revision) })
	for i, h := range all {
		if len(p.Runs) == q.Limit || i == maxRead {
			p.NextCursor = strconv.FormatUint(all[i-1].revision, 10)
			break
		}
		one, err := s.store.get(ctx, h.key, true)
		if errors.Is(err, errNone) {
			continue
		}
		if err != nil {
			return p, err
		}
		if v := one.view(); (q.Status == "" || v.Status == q.Status) && (q.Workflow == "" || v.Workflow == q.Workflow) {
			p.Runs = append(p.Runs, v)
		}
	}
	return p, nil
}

func (q *query) check() (before uint64, err error) {
	q.Limit = cmp.Or(q.Limit, defaultPage)
	states := []machine.Status{machine.Pending, machine.Running, machine.Waiting, machine.Completed, machine.Failed, machine.Canceled}
	switch {
	case q.Limit < 1 || q.Limit > maxPage:
		return 0, invalid("limit", "must be from 1 to %d", maxPage)
	case q.Status != "" && !slices.Contains(states, q.Status):
		return 0, invalid("status", "must be one of pending, running, waiting, completed, failed and canceled")
	case q.Cursor == "":
		return 1<<64 - 1, nil
	}
	if before, err = strconv.ParseUint(q.Cursor, 10, 64); err != nil {
		return 0, invalid("cursor", "must be the next_cursor of the page before")
	}
	return before, nil
}

func (q *query) filter() string {
	user, workflow := "*", "*"
	if q.User != "" {
		user = events.Token(q.User)
	}
	if q.Workflow != "" {
		workflow = letters(q.Workflow)[:wordSize]
	}
	return user + "." + workflow + ".*"
}

func (s *Service) show(ctx context.Context, user, run string) (Detail, error) {
	r, err := s.find(ctx, user, run)
	if err != nil {
		return Detail{}, err
	}
	return s.detail(ctx, r)
}

// log is the history of a run.
type log struct {
	Transitions []events.RunChange `json:"transitions" nullable:"false" doc:"In their order, the first 2,000. They are kept for seven days."`
}

func (s *Service) logs(ctx context.Context, user, run string) (log, error) {
	r, err := s.find(ctx, user, run)
	if err != nil {
		return log{}, err
	}
	all, err := s.history(ctx, r)
	if all == nil {
		all = []events.RunChange{}
	}
	return log{all}, err
}

// wait returns a run once it has ended, or as it stands after a while.
func (s *Service) wait(ctx context.Context, user, run string, patience time.Duration) (Detail, error) {
	r, err := s.find(ctx, user, run)
	if err != nil {
		return Detail{}, err
	}
	heard, err := s.Conn.SubscribeSync(events.RunSubject(r.State.User, r.State.Workflow, "*", run))
	if err != nil {
		return Detail{}, fmt.Errorf("listening to run %s: %w", run, err)
	}
	defer func() { _ = heard.Unsubscribe() }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if r, err = s.find(context.WithoutCancel(ctx), r.State.User, run); err != nil {
			return Detail{}, err
		}
		if r.State.Status.Ended() {
			break
		}
		if _, err := heard.NextMsgWithContext(ctx); err != nil {
			break // as it stands
		}
	}
	return s.detail(context.WithoutCancel(ctx), r)
}

func invalid(field, format string, args ...any) error {
	return events.Errorf(events.CodeInvalidParams, "%s: %s", field, fmt.Sprintf(format, args...))
}

// asProblem gives errors about runs a status.
func asProblem(err error) error {
	refused := (*refusal)(nil)
	switch {
	case errors.Is(err, errNone):
		return api.New(http.StatusNotFound, "", errNone.Error())
	case errors.Is(err, errNotFailed):
		return api.New(http.StatusConflict, "", errNotFailed.Error())
	case errors.As(err, &refused) && refused.why == whyGone:
		return api.New(http.StatusNotFound, "", refused.message)
	case errors.As(err, &refused) && refused.why == whyQuota:
		return api.New(http.StatusTooManyRequests, "", refused.message)
	case errors.As(err, &refused):
		return api.New(http.StatusConflict, "", refused.message)
	}
	return err
}
