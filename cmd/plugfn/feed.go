package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
)

// feed shows events and results as they pass, one line each.
type feed struct {
	messages chan *nats.Msg
	subs     []*nats.Subscription
}

// maxFeed is how many messages may wait to be shown; when there are more, some
// are not.
const maxFeed = 1024

// newFeed listens from now on. Whoever calls it closes the feed.
func newFeed(conn *nats.Conn) (*feed, error) {
	f := &feed{messages: make(chan *nats.Msg, maxFeed)}
	for _, subject := range []string{events.PrefixEvent + ">", events.PrefixResult + ">"} {
		sub, err := conn.ChanSubscribe(subject, f.messages)
		if err != nil {
			f.close()
			return nil, fmt.Errorf("listening to %s: %w", subject, err)
		}
		f.subs = append(f.subs, sub)
	}
	if err := conn.Flush(); err != nil {
		f.close()
		return nil, fmt.Errorf("listening: %w", err)
	}
	return f, nil
}

func (f *feed) close() {
	for _, sub := range f.subs {
		_ = sub.Unsubscribe() // the connection may be gone, and the subscription with it
	}
}

// run writes lines until ctx ends.
func (f *feed) run(ctx context.Context, w io.Writer) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-f.messages:
			line, err := feedOf(msg)
			if err != nil {
				continue // somebody else's message on our subjects
			}
			if _, err := fmt.Fprintln(w, line); err != nil {
				return fmt.Errorf("writing the feed: %w", err)
			}
		}
	}
}

// feedOf is the line of one message.
func feedOf(msg *nats.Msg) (string, error) {
	now := time.Now().Format("15:04:05.000")
	switch {
	case strings.HasPrefix(msg.Subject, events.PrefixEvent):
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil {
			return "", err
		}
		return feedLine(now, e.Provider+"."+e.EventName, e.ID, receivedBy(&e)), nil
	case strings.HasPrefix(msg.Subject, events.PrefixResult):
		r, err := events.ParseResult(msg.Data)
		if err != nil {
			return "", err
		}
		return feedLine(now, r.Provider+"."+r.Action, r.ID, outcomeOf(&r)), nil
	default:
		return "", errors.New("neither event nor result")
	}
}

func receivedBy(e *events.Event) string {
	if e.UserID == "" {
		return waiting("no connection has this account")
	}
	return "→ " + clip(e.UserID, 40)
}

func outcomeOf(r *events.Result) string {
	took := fmt.Sprintf("  %d ms", r.DurationMS)
	switch {
	case r.Outcome == events.Succeeded:
		return done(string(r.Outcome)) + took
	case r.Error == nil:
		return broken(string(r.Outcome)) + took
	default:
		return broken(string(r.Outcome)) + took + "  " + clip(r.Error.Error(), 120)
	}
}

// feedLine sets one line of the feed. An id is shown to its 36th character,
// which is all of a UUID and of PlugFn's own.
func feedLine(at, name, id, result string) string {
	return fmt.Sprintf("  %-12s  %-30s  %-36s  %s", at, clip(name, 60), clip(id, 36), result)
}

// clip cuts a text to n characters of one line.
func clip(s string, n int) string {
	r := []rune(safe(s))
	if len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return string(r)
}

// safe returns a text from outside without what would control a terminal.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, s)
}
