package workflows

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

const (
	maxUser = 256 // bytes
	maxGaps = 50  // numbers of versions that are passed over because somebody has them
)

// Application is a definition that is to be applied.
type Application struct {
	// Definition is a text in YAML or JSON, or the object itself.
	Definition json.RawMessage `json:"definition" doc:"The workflow: a text in YAML or JSON, or an object."`
	// Draft says that a workflow that is new is not enabled by this.
	Draft bool `json:"draft,omitempty" doc:"A new workflow is not enabled yet. One that is there keeps its status in any case."`
	// IfVersion is what the latest version must be; 0: there is no such workflow.
	IfVersion *int `json:"if_version,omitempty" minimum:"0" doc:"Only if this is the latest version; 0: only if there is no such workflow."`
}

// Applied is what an application has come to.
type Applied struct {
	View
	Changed bool              `json:"changed" doc:"There is a new version. What was applied before means the same otherwise."`
	Changes []workflow.Change `json:"changes" nullable:"false" doc:"Against the version before."`
}

// Apply makes a new version of a workflow of a user, or the first. What is wrong
// with the definition is a [workflow.Problems] and nothing is applied then. The
// same text as the latest version's makes no new one.
func (s *Service) Apply(ctx context.Context, user string, a Application) (Applied, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return Applied{}, err
	}
	if user == "" || len(user) > maxUser || !utf8.ValidString(user) || containsControl(user) {
		return Applied{}, invalid("user_id", "must be from 1 to %d bytes without control characters: it says whose workflow it is", maxUser)
	}
	body, err := textOf(a.Definition)
	if err != nil {
		return Applied{}, err
	}
	p, err := s.judge(ctx, user, body)
	if err != nil {
		return Applied{}, err
	}
	for range maxTries {
		done, err := s.apply(ctx, store, user, body, p.Definition, a)
		if !errors.Is(err, errTaken) {
			return done, err
		}
	}
	return Applied{}, events.Errorf(events.CodeInternal, "the workflow keeps changing; try again")
}

// judge compiles a definition, with the user's other workflows in view.
func (s *Service) judge(ctx context.Context, user string, body []byte) (*workflow.Program, error) {
	return compile(body, workflow.Options{Providers: s.Providers, Schedule: CheckSchedule, Workflow: s.others(ctx, user)})
}

// others finds the workflows of a user, as they are today.
func (s *Service) others(ctx context.Context, user string) func(name string) (*workflow.Definition, bool) {
	known := map[string]*workflow.Definition{}
	return func(name string) (*workflow.Definition, bool) {
		d, ok := known[name]
		if !ok {
			d = s.definition(ctx, user, name)
			known[name] = d
		}
		return d, d != nil
	}
}

// definition is the latest version of a workflow; nil where there is none.
func (s *Service) definition(ctx context.Context, user, name string) *workflow.Definition {
	store, err := s.opened(ctx)
	if err != nil {
		return nil
	}
	r, _, err := store.find(ctx, user, name)
	if err != nil {
		return nil
	}
	t, err := store.text(ctx, user, name, r.Version)
	if err != nil {
		return nil
	}
	d, err := workflow.Parse([]byte(t.Text))
	if err != nil {
		return nil
	}
	return d
}

// apply tries once: errTaken where somebody else was faster.
func (s *Service) apply(ctx context.Context, store *store, user string, body []byte, d *workflow.Definition, a Application) (Applied, error) {
	r, revision, err := store.left(ctx, user, d.Name)
	if err != nil && !errors.Is(err, errNone) {
		return Applied{}, err
	}
	isNew := r == nil || r.Status == deleted
	if err := a.admit(r, isNew); err != nil {
		return Applied{}, err
	}
	digest := digestOf(body)
	if !isNew && r.latest().Digest == digest {
		return Applied{View: r.view(), Changes: []workflow.Change{}}, nil
	}
	now := s.Now().UTC()
	next := record{Name: d.Name, UserID: user, Status: Enabled, CreatedAt: now}
	if isNew {
		if err := s.room(ctx, user); err != nil {
			return Applied{}, err
		}
		if a.Draft {
			next.Status = Draft
		}
	}
	if r != nil {
		next.Version = r.Version
	}
	if !isNew {
		next = *r
	}
	before, err := s.before(ctx, store, r, isNew)
	if err != nil {
		return Applied{}, err
	}
	t, err := s.add(ctx, store, &text{Name: d.Name, UserID: user, Version: next.Version, Text: string(body)})
	if err != nil {
		return Applied{}, err
	}
	next.describe(d)
	next.Version, next.UpdatedAt = t.Version, now
	next.Versions = append(slices.Clone(next.Versions), Version{Version: t.Version, AppliedAt: now, Digest: digest, Bytes: len(body)})
	var old []Version
	if over := len(next.Versions) - s.MaxVersions; over > 0 {
		old, next.Versions = next.Versions[:over], next.Versions[over:]
	}
	if err := store.put(ctx, &next, revision); err != nil {
		if errors.Is(err, errTaken) { // of any other error the outcome is not known
			store.withdraw(context.WithoutCancel(ctx), t)
		}
		return Applied{}, err
	}
	for _, v := range old {
		if err := store.retire(ctx, user, d.Name, v.Version); err != nil {
			s.Log.Warn().Err(err).Str("workflow", d.Name).Int("version", v.Version).Msg("an old version is kept for ever")
		}
	}
	if next.Trigger.Kind == "schedule" || r != nil && r.Trigger.Kind == "schedule" {
		s.follow(ctx, user, d.Name)
	}
	s.note(&next, "applied")
	return Applied{View: next.view(), Changed: true, Changes: workflow.Diff(before, d)}, nil
}

// admit compares what is there with what must be.
func (a *Application) admit(r *record, isNew bool) error {
	if a.IfVersion == nil {
		return nil
	}
	switch want := *a.IfVersion; {
	case isNew && want != 0:
		return conflict("there is no such workflow, and if_version is %d", want)
	case !isNew && want != r.Version:
		return conflict("the latest version is %d, and if_version is %d: see what has changed with: plugfn workflow diff", r.Version, want)
	}
	return nil
}

// before is the definition that an application takes the place of.
func (s *Service) before(ctx context.Context, store *store, r *record, isNew bool) (*workflow.Definition, error) {
	if isNew {
		return &workflow.Definition{}, nil
	}
	t, err := store.text(ctx, r.UserID, r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	d, err := workflow.Parse([]byte(t.Text))
	if err != nil {
		d = &workflow.Definition{} // of an earlier program; all of it changes
	}
	return d, nil
}

// add stores a text under the next version that nobody has.
func (s *Service) add(ctx context.Context, store *store, t *text) (*text, error) {
	for range maxGaps {
		t.Version++
		if err := store.add(ctx, t); !errors.Is(err, errTaken) {
			return t, err
		}
	}
	return nil, errTaken
}

// room is an error where a user has as many workflows as he may.
func (s *Service) room(ctx context.Context, user string) error {
	if err := s.mirror.CaughtUp(ctx); err != nil {
		return err
	}
	if n := s.index.count(user); n >= s.MaxPerUser {
		return invalid("user_id", "has %d workflows: delete those that are no longer used, or raise PLUGFN_WORKFLOWS_PER_USER", n)
	}
	return nil
}

// describe notes what lists and the index want to know of a definition.
func (r *record) describe(d *workflow.Definition) {
	r.Description, r.Trigger, r.Steps = d.Description, triggerOf(d.Trigger), countSteps(d.Steps)+countSteps(d.OnError)
}

func countSteps(steps []*workflow.Step) int {
	n := len(steps)
	for _, s := range steps {
		for _, l := range s.Lists() {
			n += countSteps(l.Steps)
		}
	}
	return n
}

// textOf is the text of a definition, whichever form it came in.
func textOf(definition json.RawMessage) ([]byte, error) {
	definition = bytes.TrimSpace(definition)
	switch {
	case len(definition) == 0 || string(definition) == "null":
		return nil, invalid("definition", "is missing: a workflow in YAML or JSON")
	case definition[0] != '"':
		return definition, nil
	}
	var text string
	if err := json.Unmarshal(definition, &text); err != nil {
		return nil, invalid("definition", "must be a text or an object")
	}
	return []byte(text), nil
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func containsControl(s string) bool { return slices.ContainsFunc([]rune(s), unicode.IsControl) }
