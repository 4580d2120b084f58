package schedules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/polls"
	"github.com/plugfn/plugfn/services/scheduler/rule"
)

// Misfire says what becomes of ticks whose time went by while nobody could work
// on them.
type Misfire string

// The policies. The zero value is FireOnce.
const (
	FireOnce Misfire = "fire_once" // one tick, the latest, stands for all
	SkipLate Misfire = "skip"      // none of them fires
	FireAll  Misfire = "all"       // the latest hundred do, the oldest first
)

// Overlap says what becomes of a tick when what the one before it asked for is
// still going on.
type Overlap string

// The policies. The zero value is Allow.
const (
	Allow     Overlap = "allow"
	SkipBusy  Overlap = "skip"
	QueueBusy Overlap = "queue" // it waits, with up to a hundred others
)

const (
	maxName   = 100      // characters
	maxUser   = 256      // bytes
	maxEvent  = 60       // bytes of the name of an event
	maxParams = 32 << 10 // bytes of what a tick brings
	maxText   = 64       // bytes of a duration
)

// Plan is a schedule as a person writes it. Exactly one of Cron, Every and At is
// set.
type Plan struct {
	Name    string    `json:"name,omitempty" doc:"The user's own word for it." maxLength:"100"`
	Cron    string    `json:"cron,omitempty" doc:"Five fields, six with the seconds first, or @hourly, @daily, @weekly, @monthly, @yearly." example:"0 9 * * MON-FRI"`
	Zone    string    `json:"zone,omitempty" doc:"Time zone of cron; UTC if left out." example:"Europe/Berlin"`
	Every   string    `json:"every,omitempty" doc:"From one tick to the next, from 1s." example:"90s"`
	At      time.Time `json:"at,omitzero" doc:"The time of the only tick."`
	Start   time.Time `json:"start,omitzero" doc:"No tick before it; of every the first one."`
	End     time.Time `json:"end,omitzero" doc:"No tick after it."`
	Jitter  string    `json:"jitter,omitempty" doc:"Up to how much later than its time a tick fires." example:"30s"`
	Misfire Misfire   `json:"misfire,omitempty" enum:"fire_once,skip,all" doc:"What becomes of ticks that were missed; fire_once if left out."`
	Overlap Overlap   `json:"overlap,omitempty" enum:"allow,skip,queue" doc:"What becomes of a tick while the action of the one before goes on; allow if left out."`
	Target  Target    `json:"target"`
}

// Target is where ticks go. Exactly one of its fields is set.
type Target struct {
	Action   *ActionTarget   `json:"action,omitempty" doc:"An action is asked for."`
	Event    *EventTarget    `json:"event,omitempty" doc:"An event plugfn.event.<user>.schedule.<name> is published."`
	Workflow *WorkflowTarget `json:"workflow,omitempty" doc:"A run of a workflow is started."`
	// Poll has its ticks look for what a provider does not push.
	Poll *polls.Subscription `json:"poll,omitempty" doc:"A trigger is looked for, and what is new is published as its events."`
	// Subject is another way to write one of the others. It is never stored.
	Subject *SubjectTarget `json:"subject,omitempty" doc:"The same by its subject."`
}

// ActionTarget asks for an action.
type ActionTarget struct {
	Provider     string          `json:"provider"`
	Action       string          `json:"action"`
	ConnectionID string          `json:"connection_id,omitempty" doc:"Where the user has several."`
	Params       json.RawMessage `json:"params,omitempty" doc:"An object, as the action wants it."`
}

// EventTarget publishes an event.
type EventTarget struct {
	Name string          `json:"name"`
	Data json.RawMessage `json:"data,omitempty" doc:"Anything; it comes with each tick."`
}

// WorkflowTarget starts a run of a workflow, as it is at the time of the tick.
type WorkflowTarget struct {
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input,omitempty" doc:"An object, as the workflow wants it."`
}

// SubjectTarget is plugfn.action.<user>.<provider>.<action> or
// plugfn.event.<user>.schedule.<name>, with its parameters or data.
type SubjectTarget struct {
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// check judges p, fills in what was left out, and returns its rule. Every counts
// from anchor.
func (p *Plan) check(user string, packs *providers.Registry, anchor time.Time) (rule.Rule, error) {
	if utf8.RuneCountInString(p.Name) > maxName || !isPlain(p.Name) {
		return rule.Rule{}, invalid("name", "must be at most %d characters of valid UTF-8 without control characters", maxName)
	}
	r, err := p.rule(anchor)
	if err != nil {
		return rule.Rule{}, err
	}
	if err := p.checkPolicies(); err != nil {
		return rule.Rule{}, err
	}
	return r, p.checkTarget(user, packs, r, anchor)
}

// rule reads when the ticks are.
func (p *Plan) rule(anchor time.Time) (rule.Rule, error) {
	every, err := duration("every", p.Every)
	if err != nil {
		return rule.Rule{}, err
	}
	jitter, err := duration("jitter", p.Jitter)
	if err != nil {
		return rule.Rule{}, err
	}
	r, err := rule.Parse(rule.Spec{
		Cron: p.Cron, Zone: p.Zone, Every: every, At: p.At, Start: p.Start, End: p.End, Jitter: jitter, Anchor: anchor,
	})
	return r, asInvalid(err)
}

// asInvalid tells a fault of a rule as the bus and HTTP do.
func asInvalid(err error) error {
	var f *rule.Fault
	if errors.As(err, &f) {
		return invalid(f.Field, "%s", f.Message)
	}
	return err
}

func duration(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || len(text) > maxText || d <= 0 {
		return 0, invalid(field, "must be a duration above zero, such as 90s or 24h")
	}
	return d, nil
}

func (p *Plan) checkPolicies() error {
	switch p.Misfire {
	case "":
		p.Misfire = FireOnce
	case FireOnce, SkipLate, FireAll:
	default:
		return invalid("misfire", "must be %s, %s or %s", FireOnce, SkipLate, FireAll)
	}
	switch p.Overlap {
	case "":
		p.Overlap = Allow
	case Allow, SkipBusy, QueueBusy:
	default:
		return invalid("overlap", "must be %s, %s or %s", Allow, SkipBusy, QueueBusy)
	}
	return nil
}

func (p *Plan) checkTarget(user string, packs *providers.Registry, r rule.Rule, anchor time.Time) error {
	if p.Target.Subject != nil {
		meant, err := p.Target.Subject.meant(user)
		if err != nil || p.Target.count() > 1 {
			return errors.Join(err, oneTarget(err == nil))
		}
		p.Target = meant
	}
	switch t := p.Target; {
	case t.count() != 1:
		return oneTarget(true)
	case t.Action != nil:
		return t.Action.check(packs)
	case t.Poll != nil:
		return checkPoll(t.Poll, packs, r, anchor)
	case t.Workflow != nil && p.Overlap != Allow:
		return invalid("overlap", "must be %s: the concurrency of the workflow says how many of its runs are under way", Allow)
	case t.Workflow != nil:
		return t.Workflow.check()
	case p.Overlap != Allow:
		return invalid("overlap", "must be %s: an event does not go on", Allow)
	default:
		return t.Event.check()
	}
}

// count is how many of the targets are set.
func (t *Target) count() int {
	n := 0
	for _, set := range []bool{t.Action != nil, t.Event != nil, t.Workflow != nil, t.Poll != nil, t.Subject != nil} {
		if set {
			n++
		}
	}
	return n
}

// checkPoll also sees that nobody looks more often than the pack allows.
func checkPoll(t *polls.Subscription, packs *providers.Registry, r rule.Rule, anchor time.Time) error {
	const path = "target.poll"
	if err := checkConnection(path, t.ConnectionID); err != nil {
		return err
	}
	if len(t.Params) > maxParams {
		return invalid(path+".params", "is longer than %d bytes", maxParams)
	}
	poll, err := t.Poll(packs, path)
	if err != nil {
		return err
	}
	const ticks = 10 // of cron some are closer to each other
	for at, n := r.Next(anchor), 0; !at.IsZero() && n < ticks; n++ {
		next := r.Next(at)
		if !next.IsZero() && next.Sub(at) < poll.Shortest() {
			return invalid("every", "is too often: %s of %s may be looked for every %s", api.Clip(t.Trigger), t.Provider, poll.Shortest())
		}
		at = next
	}
	return nil
}

func checkConnection(path, id string) error {
	if len(id) > events.MaxID || !isPlain(id) {
		return invalid(path+".connection_id", "must be the id of a connection")
	}
	return nil
}

func oneTarget(wrong bool) error {
	if !wrong {
		return nil
	}
	return invalid("target", "set one of action, event, workflow, poll and subject")
}

// check finds what the executor would refuse, and with the same words.
func (t *ActionTarget) check(packs *providers.Registry) error {
	pack, ok := packs.Pack(t.Provider)
	if !ok {
		return events.Errorf(events.CodeUnknownProvider, "target.action.provider: no provider %q%s", api.Clip(t.Provider), nearest.Meant(packs.Nearest(t.Provider)))
	}
	action, ok := pack.Action(t.Action)
	if !ok {
		return events.Errorf(events.CodeUnknownAction, "target.action.action: provider %s has no action %q%s", pack.Name, api.Clip(t.Action), nearest.Meant(pack.NearestAction(t.Action)))
	}
	if err := checkConnection("target.action", t.ConnectionID); err != nil {
		return err
	}
	if len(t.Params) == 0 {
		t.Params = json.RawMessage("{}")
	}
	if len(t.Params) > maxParams {
		return invalid("target.action.params", "is longer than %d bytes", maxParams)
	}
	if err := action.Validate(t.Params); err != nil {
		var e *events.Error
		if errors.As(err, &e) {
			return events.Errorf(e.Code, "target.action.params: %s", e.Message)
		}
		return err
	}
	return nil
}

func (t *EventTarget) check() error {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}
	for token := range strings.SplitSeq(t.Name, ".") {
		if token == "" || len(t.Name) > maxEvent || strings.ContainsFunc(token, func(c rune) bool { return !plain(c) }) {
			return invalid("target.event.name", "must be at most %d letters, digits, _ and -, in parts separated by dots, such as digest.nightly", maxEvent)
		}
	}
	switch {
	case len(t.Data) > maxParams:
		return invalid("target.event.data", "is longer than %d bytes", maxParams)
	case len(t.Data) > 0 && !json.Valid(t.Data):
		return invalid("target.event.data", "must be JSON")
	}
	return nil
}

// check judges the form. Whether there is such a workflow is seen at each tick.
func (t *WorkflowTarget) check() error {
	if !workflow.IsName(t.Name) {
		return invalid("target.workflow.name", "must be the name of a workflow: a-z, 0-9 and -")
	}
	var object map[string]json.RawMessage
	switch {
	case len(t.Input) > maxParams:
		return invalid("target.workflow.input", "is longer than %d bytes", maxParams)
	case len(t.Input) > 0 && json.Unmarshal(t.Input, &object) != nil:
		return invalid("target.workflow.input", "must be a JSON object")
	}
	return nil
}

// meant reads the subject. Only what the user himself may publish, and the events
// of his schedules, are targets.
func (t *SubjectTarget) meant(user string) (Target, error) {
	if len(t.Subject) > events.MaxSubject {
		return Target{}, invalid("target.subject.subject", "is longer than %d bytes", events.MaxSubject)
	}
	if name, ok := strings.CutPrefix(t.Subject, events.PrefixEvent+events.Token(user)+"."+eventProvider+"."); ok {
		return Target{Event: &EventTarget{Name: name, Data: t.Data}}, nil
	}
	if strings.HasPrefix(t.Subject, events.PrefixAction+events.Token(user)+".") && !strings.ContainsAny(t.Subject, "*> ") {
		r, err := events.ParseActionRequest(t.Subject, nil, t.Data)
		if err == nil {
			return Target{Action: &ActionTarget{Provider: r.Provider, Action: r.Action, Params: r.Params}}, nil
		}
		var e *events.Error
		if len(events.Token(user)) < len(user) || !errors.As(err, &e) { // of a user whose token is shortened
			return Target{}, invalid("target.subject.subject", "cannot be read for this user: use target.action")
		}
		return Target{}, invalid("target.subject.subject", "%s", e.Message)
	}
	own := events.Token(user)
	return Target{}, invalid("target.subject.subject", "must be %s%s.<provider>.<action> or %s%s.%s.<name>: what this user may publish himself",
		events.PrefixAction, own, events.PrefixEvent, own, eventProvider)
}

func isPlain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func invalid(field, format string, args ...any) error {
	return events.Errorf(events.CodeInvalidParams, "%s: %s", field, fmt.Sprintf(format, args...))
}
