package tally

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// By is what results are grouped by. The zero value stands for ByProvider.
type By string

// The groups.
const (
	ByProvider By = "provider"
	ByAction   By = "action"
	ByUser     By = "user"
)

// Groups returns all that results can be grouped by.
func Groups() []By { return []By{ByProvider, ByAction, ByUser} }

// Query is which results are counted, and how.
type Query struct {
	Since    time.Time // when they were stored
	By       By
	User     string // empty: of all
	Provider string // empty: of all
}

// MaxRange is how far back results are kept.
const MaxRange = 7 * 24 * time.Hour

// ParseRange reads how far back to look: a duration such as 90m, or days such as
// 7d, up to MaxRange.
func ParseRange(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = days + "h"
		if d, err := time.ParseDuration(text); err == nil && d > 0 && d <= MaxRange/24 {
			return 24 * d, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 && d <= MaxRange {
		return d, nil
	}
	return 0, errors.New("must be a duration such as 1h or 7d, up to 7d, as long as results are kept")
}

// Report is what was counted.
type Report struct {
	All    Group   // of everything
	Groups []Group // the largest first
}

// maxGroups bounds what is counted apart; the rest is one group.
const maxGroups = 10_000

// Count goes through all results that were stored since: some 20 µs of processor
// time for each, the server's among it. It ends early with the error of ctx.
func Count(ctx context.Context, js jetstream.JetStream, q Query) (*Report, error) {
	c := counter{by: q.By, of: map[string]*Group{}}
	if err := scan(ctx, js, q, c.add); err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	return c.report(), nil
}

// scan calls each with the headers of the results that there are now.
func scan(ctx context.Context, js jetstream.JetStream, q Query, each func(nats.Header)) error {
	results := bus.History{
		Stream: events.StreamResults, Subject: events.PrefixResult + token(q.User) + "." + token(q.Provider) + ".*.*", Since: q.Since, HeadersOnly: true,
	}
	return results.Read(ctx, js, func(msg jetstream.Msg) bool {
		each(msg.Headers())
		return true
	})
}

// token is that of s, or any where there is none.
func token(s string) string {
	if s == "" {
		return "*"
	}
	return events.Token(s)
}

// counter counts results by group.
type counter struct {
	by  By
	all Group
	of  map[string]*Group
}

// add counts a result. What is none is left out.
func (c *counter) add(header nats.Header) {
	e, err := events.ParseEvent(header, nil)
	if err != nil {
		return
	}
	name := c.name(&e)
	g := c.of[name]
	if g == nil && len(c.of) >= maxGroups {
		name = "(others)"
		g = c.of[name]
	}
	if g == nil {
		g = &Group{Group: name}
		c.of[name] = g
	}
	g.add(&e, header)
	c.all.add(&e, header)
}

func (c *counter) name(e *events.Event) string {
	switch c.by {
	case ByAction:
		return strings.Replace(e.Subject, "/", ".", 1)
	case ByUser:
		return e.UserID
	default:
		return e.Provider
	}
}

func (c *counter) report() *Report {
	r := &Report{All: c.all, Groups: make([]Group, 0, len(c.of))}
	r.All.finish()
	for _, name := range slices.Sorted(maps.Keys(c.of)) {
		g := c.of[name]
		g.finish()
		r.Groups = append(r.Groups, *g)
	}
	slices.SortStableFunc(r.Groups, func(a, b Group) int { return cmp.Compare(b.Total, a.Total) })
	return r
}
