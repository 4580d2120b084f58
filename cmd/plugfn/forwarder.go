package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	firstBackoff  = 250 * time.Millisecond
	lastBackoff   = 5 * time.Second
	forwardTries  = 3 // of an event that was sent and not answered
	maxForwarded  = 64 << 10
	cloudEventKey = "ce-"
)

// forwarder sends events to one URL.
type forwarder struct {
	to   string
	key  []byte
	http *http.Client
	wait func(text string) // tells a person why nothing happens
}

// forwarded is what came of one event.
type forwarded struct {
	At           time.Time `json:"time"`
	ID           string    `json:"id"`
	Event        string    `json:"event"`
	Status       int       `json:"status,omitempty"`
	Milliseconds int64     `json:"ms"`
	Attempts     int       `json:"attempts"`
	Error        string    `json:"error,omitempty"` // it was not answered
}

// unsent is what comes of an event that cannot be sent as it is.
func unsent(subject string, e *events.Event, problem error) forwarded {
	sent := forwarded{At: time.Now(), ID: e.ID, Event: subject, Error: "not sent: " + problem.Error()}
	if e.Provider != "" {
		sent.Event = e.Provider + "." + e.EventName
	}
	return sent
}

// send sends one event until it is answered. While nobody listens it waits;
// what breaks off is tried three times. The error is that of ctx.
func (f *forwarder) send(ctx context.Context, subject string, e *events.Event) (forwarded, error) {
	sent := forwarded{ID: e.ID, Event: e.Provider + "." + e.EventName}
	var err error
	broke, backoff := 0, firstBackoff
	for {
		sent.Attempts++
		sent.At = time.Now()
		sent.Status, err = f.post(ctx, e, subject, sent.At)
		sent.Milliseconds = time.Since(sent.At).Milliseconds()
		if err == nil || ctx.Err() != nil {
			return sent, ctx.Err()
		}
		if !isUnsent(err) {
			broke++
		}
		if broke == forwardTries {
			sent.Error = reasonOfPost(err)
			return sent, nil
		}
		if sent.Attempts == 1 {
			f.wait("waiting for " + f.to + ": " + reasonOfPost(err))
		}
		select {
		case <-ctx.Done():
			return sent, ctx.Err()
		case <-time.After(backoff):
			backoff = min(2*backoff, lastBackoff)
		}
	}
}

// post makes one request and returns its status.
func (f *forwarder) post(ctx context.Context, e *events.Event, subject string, now time.Time) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.to, bytes.NewReader(e.Data))
	if err != nil {
		return 0, fmt.Errorf("making the request: %w", err)
	}
	for name, values := range e.Msg(subject).Header { // escaped as the HTTP binding of CloudEvents wants it
		if strings.HasPrefix(name, cloudEventKey) && name != cloudEventKey+"datacontenttype" {
			r.Header.Set(name, values[0])
		}
	}
	if e.DataContentType != "" && isFieldValue(e.DataContentType) {
		r.Header.Set("Content-Type", e.DataContentType)
	}
	r.Header.Set("User-Agent", "plugfn/"+version)
	sign(r.Header, f.key, messageID(e), now, e.Data)
	answer, err := f.http.Do(r)
	if err != nil {
		return 0, err
	}
	_, _ = io.CopyN(io.Discard, answer.Body, maxForwarded) // so that the connection can be used again
	return answer.StatusCode, answer.Body.Close()
}

// messageID is the webhook-id of an event, by which receivers tell repetitions.
// The id alone would not do: one delivery makes an event of the same id for each
// of its connections, and a provider may put into it what it likes.
func messageID(e *events.Event) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(e.Source)) + ":" + e.Source + e.ID))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// sign sets the headers of Standard Webhooks.
func sign(h http.Header, key []byte, id string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", stamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func isFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// isUnsent tells whether no connection was made.
func isUnsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// reasonOfPost is err without the URL, which the person has given.
func reasonOfPost(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}
