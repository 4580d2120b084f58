package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// DefaultKeyTTL is how long a provider remembers keys where its pack says
// nothing else.
const DefaultKeyTTL = 24 * time.Hour

// Idempotency is how a repetition of a write is recognised: by the provider,
// which is given a key (effect keyed), or by PlugFn, which looks whether the
// write is there (effect reconcile).
//
// The key is made by the executor of the user and the id of the request, so
// that all attempts have the same one. It is a UUID.
type Idempotency struct {
	Header string        `yaml:"header"` // keyed: the header that carries the key
	Field  string        `yaml:"field"`  // keyed: or the JSON pointer of the body's member that does
	TTL    time.Duration `yaml:"ttl"`    // keyed: how long the provider remembers a key; 0: DefaultKeyTTL

	Stamp *Stamp `yaml:"stamp"` // reconcile: what the request is recognised by later; nil: by what it asks for
	Find  []Find `yaml:"find"`  // reconcile: the first whose when holds
}

// Stamp is what is put into the parameters of a request.
type Stamp struct {
	At     string       `yaml:"at"`     // JSON pointer into params; the parameter goes into the body
	Append Template     `yaml:"append"` // behind the text that stands there; field: key or mark
	Value  JSONTemplate `yaml:"value"`  // or merged into what stands there; what has no {{key}} or {{mark}} in it gives way
}

// KeyTTL is how long after a write was first sent its repetition is still
// recognised by its key.
func (a *Action) KeyTTL() time.Duration {
	if a.Idempotency == nil || a.Idempotency.TTL == 0 {
		return DefaultKeyTTL
	}
	return a.Idempotency.TTL
}

// EffectOf is the effect of a request with these parameters, which are valid.
// It is the action's own, but for a request that could not be found again:
// because its parameters leave no room for the stamp, or because no find is
// meant for it. That is EffectNone.
func (a *Action) EffectOf(params json.RawMessage) Effect {
	if a.Effect != EffectReconcile {
		return a.Effect
	}
	object, err := parseParams(params)
	if err != nil {
		return EffectNone
	}
	if _, fits := a.stamped(object, exampleMark()); !fits {
		return EffectNone
	}
	if _, ok := a.findFor(candidateOf(object, exampleKey, time.Unix(0, 0))); !ok {
		return EffectNone
	}
	return a.Effect
}

// exampleKey is as long as every key.
const exampleKey = "00000000-0000-4000-8000-000000000000"

// NewWrite is [Action.NewRequest] with what makes the request recognisable by
// its mark: a header, a member of the body, a stamp, or nothing where the effect is
// none of keyed and reconcile. Parameters without room for the stamp go without.
//
// net/http repeats by itself a write that has an Idempotency-Key, also one that
// was received, see [http.Transport]. It looks for the canonical name only, so
// the header has another spelling, which is the same one to every server.
func (a *Action) NewWrite(ctx context.Context, base string, params json.RawMessage, cred Credential, mark Mark) (*http.Request, error) {
	object, err := parseParams(params)
	if err != nil {
		return nil, err
	}
	return a.newWrite(ctx, base, object, cred, mark)
}

func (a *Action) newWrite(ctx context.Context, base string, object map[string]any, cred Credential, mark Mark) (*http.Request, error) {
	i := a.Idempotency
	if i == nil {
		return a.newRequest(ctx, base, object, cred)
	}
	if i.Field != "" || i.Stamp != nil {
		if marked, fits := a.stamped(object, mark); fits {
			object = marked
		}
	}
	req, err := a.newRequest(ctx, base, object, cred)
	if err == nil && i.Header != "" {
		req.Header[strings.ToLower(i.Header)] = []string{mark.Key}
	}
	return req, err
}

// stamped returns params with the mark in them. It reports false when the schema
// has no room for it.
func (a *Action) stamped(params map[string]any, mark Mark) (map[string]any, bool) {
	i := a.Idempotency
	switch {
	case i.Field != "":
		tokens, err := parsePointer(i.Field)
		marked, ok := putAt(params, tokens, func(any) any { return mark.Key })
		object, isObject := marked.(map[string]any)
		return object, ok && isObject && err == nil
	case i.Stamp == nil:
		return params, true
	}
	tokens, err := parsePointer(i.Stamp.At)
	if err != nil {
		return nil, false
	}
	marked, ok := putAt(params, tokens, func(was any) any { return i.Stamp.on(was, mark.field) })
	object, isObject := marked.(map[string]any)
	if !ok || !isObject || len(a.Params.problems(object)) > 0 {
		return nil, false
	}
	return object, true
}

// on puts the stamp on what stands at its place.
func (s *Stamp) on(was any, fields func(string) (any, bool)) any {
	if s.Append.IsZero() {
		return s.Value.mergeInto(was, fields)
	}
	text, _ := s.Append.expand(textsOf(fields))
	before, _ := was.(string)
	if before == "" {
		return strings.TrimLeft(text, "\n")
	}
	return before + text
}

// putAt returns a copy of v in which what a pointer leads to is replaced. What
// is missing on the way is made; it reports false where something else stands.
func putAt(v any, pointer []string, replace func(was any) any) (any, bool) {
	if len(pointer) == 0 {
		return replace(v), true
	}
	object, ok := v.(map[string]any)
	if !ok && v != nil {
		return nil, false
	}
	member, ok := putAt(object[pointer[0]], pointer[1:], replace)
	if !ok {
		return nil, false
	}
	changed := maps.Clone(object)
	if changed == nil {
		changed = map[string]any{}
	}
	changed[pointer[0]] = member
	return changed, true
}

func (a *Action) checkIdempotency(path string, r report) {
	i := a.Idempotency
	switch {
	case a.Effect != EffectKeyed && a.Effect != EffectReconcile:
		if i != nil {
			r(path, "goes with effect: %s or %s", EffectKeyed, EffectReconcile)
		}
	case i == nil:
		r(path, "is missing: effect %s needs it", a.Effect)
	case a.Effect == EffectKeyed:
		a.checkKeyed(path, r)
	default:
		a.checkReconcile(path, r)
	}
}

func (a *Action) checkKeyed(path string, r report) {
	i := a.Idempotency
	if i.Stamp != nil || len(i.Find) > 0 {
		r(path, "stamp and find go with effect: %s", EffectReconcile)
	}
	if (i.Header == "") == (i.Field == "") {
		r(path, "needs either header or field")
		return
	}
	if a.Request.Method == http.MethodGet || a.Request.Method == http.MethodHead {
		r(path, "has no place in %s", a.Request.Method)
	}
	if i.Header != "" {
		a.checkKeyHeader(path+".header", r)
		return
	}
	tokens := a.checkInBody(path+".field", i.Field, r)
	if _, declared := a.Params.properties()[firstOf(tokens)]; declared && len(tokens) == 1 {
		r(path+".field", "is a parameter: PlugFn sets it, so params must not have it")
	}
}

func (a *Action) checkKeyHeader(path string, r report) {
	name := a.Idempotency.Header
	if why := whyReserved(strings.ToLower(name)); why == "" || !strings.HasSuffix(strings.ToLower(name), "idempotency-key") {
		checkHeaderName(path, name, r)
	}
	for _, taken := range slices.Concat(slices.Collect(maps.Keys(a.Request.Headers)), slices.Collect(maps.Keys(a.pack.HTTP.Headers))) {
		if strings.EqualFold(taken, name) {
			r(path, "is set by the request already")
		}
	}
}

// checkInBody judges the pointer of something that PlugFn puts into the body.
func (a *Action) checkInBody(path, pointer string, r report) []string {
	tokens, err := parsePointer(pointer)
	switch body := a.Request.Body; {
	case err != nil || len(tokens) == 0:
		r(path, "must be a JSON pointer such as /metadata")
	case body == nil:
		r(path, "needs request.body")
	case slices.Contains(body.Omit, tokens[0]) || slices.Contains(a.Request.placed(), tokens[0]):
		r(path, "%s is not sent in the body", clip(tokens[0], 60))
	}
	return tokens
}

func firstOf(tokens []string) string {
	if len(tokens) == 0 {
		return ""
	}
	return tokens[0]
}

func (a *Action) checkReconcile(path string, r report) {
	i := a.Idempotency
	if i.Header != "" || i.Field != "" || i.TTL != 0 {
		r(path, "header, field and ttl go with effect: %s", EffectKeyed)
	}
	if i.Stamp != nil {
		a.checkStamp(path+".stamp", r)
	}
	if len(i.Find) == 0 {
		r(path+".find", "is missing")
	}
	for n := range i.Find {
		i.Find[n].check(item(path+".find", n), a, r)
	}
}

func (a *Action) checkStamp(path string, r report) {
	s := a.Idempotency.Stamp
	if tokens := a.checkInBody(path+".at", s.At, r); len(tokens) > 0 && !a.Params.hasPointer(tokens) {
		r(path+".at", "must be the JSON pointer of a parameter, such as /body")
	}
	if s.Append.IsZero() == s.Value.IsZero() {
		r(path, "needs either append or value")
		return
	}
	fields := slices.Concat(s.Append.fields(), s.Value.fields())
	if !slices.Contains(fields, keyField) && !slices.Contains(fields, markField) {
		r(path, "must hold {{%s}} or {{%s}}", keyField, markField)
	}
	for _, field := range fields {
		if field != keyField && field != markField {
			r(path, "{{%s}} is not known here, only {{%s}} and {{%s}}", field, keyField, markField)
		}
	}
	for _, t := range slices.Concat([]Template{s.Append}, s.Value.templates()) {
		if t.hasFilters() {
			r(path, "filters have no place here")
		}
	}
	if bytes.Count([]byte(s.Append.text), []byte("{{")) > 1 {
		r(path+".append", "must hold {{%s}} or {{%s}} once", keyField, markField)
	}
}
