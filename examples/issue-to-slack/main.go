// Issue-to-slack posts a message to Slack for each issue that is opened on
// GitHub.
//
// It is an ordinary NATS program: it imports nothing of PlugFn, and any
// language with a NATS client can do the same. It hears an event, publishes an
// action request, waits for the result, and only then acknowledges the event.
// So if this program, PlugFn or the server dies at any point, the event comes
// again, and since the request then has the same id, it is still carried out
// once.
package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	url := flag.String("nats", "", "URL of the NATS server (default $NATS_URL, else "+nats.DefaultURL+")")
	channel := flag.String("channel", "#demo", "Slack channel to post to")
	once := flag.Bool("once", false, "exit after one issue")
	flag.Parse()
	log.SetFlags(log.Ltime | log.Lmicroseconds)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, cmp.Or(*url, os.Getenv("NATS_URL"), nats.DefaultURL), *channel, *once)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run posts for each issue until ctx ends, or for one if once is set.
func run(ctx context.Context, url, channel string, once bool) error {
	nc, err := nats.Connect(url, nats.Name("issue-to-slack"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("opening JetStream: %w", err)
	}
	// Events are kept for a week. The server remembers, under the name of this
	// durable consumer, which of them were acknowledged: issues that are opened
	// while this program is away wait for it. The star is the user who connected
	// the GitHub account.
	issues, err := js.CreateOrUpdateConsumer(ctx, "PLUGFN_EVENTS", jetstream.ConsumerConfig{
		Durable:       "issue-to-slack",
		FilterSubject: "plugfn.event.*.github.issues.opened",
		DeliverPolicy: jetstream.DeliverNewPolicy, // begin now, not with last week
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       30 * time.Second, // without an acknowledgement the event comes again
	})
	if err != nil {
		return fmt.Errorf("listening to events: %w", err)
	}
	log.Print("listening  ", issues.CachedInfo().Config.FilterSubject)

	for {
		event, err := issues.Next(jetstream.FetchContext(ctx))
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrNoHeartbeat):
			continue // no issue for a while, or the server was away for a moment
		case err != nil:
			return fmt.Errorf("waiting for an event: %w", err)
		}
		err = post(ctx, js, event, channel)
		if once {
			return err
		}
		if err != nil {
			log.Print("error      ", err)
		}
	}
}

// result is the part of a PlugFn result that this program looks at.
type result struct {
	Outcome string // succeeded, failed or unknown
	Error   struct{ Code, Message string }
}

// post has one event answered with one message, and acknowledges it.
func post(ctx context.Context, js jetstream.JetStream, event jetstream.Msg, channel string) error {
	log.Print("event      ", event.Subject())
	// The body is GitHub's own payload; what PlugFn knows is in ce-* headers.
	var payload struct{ Issue struct{ Title string } }
	if err := json.Unmarshal(event.Data(), &payload); err != nil {
		// Coming again would not help. (A webhook can be set up to send forms.)
		return errors.Join(fmt.Errorf("the event is not JSON: %w", err), event.Term())
	}
	// Act for the user whose event this is. Who asks is in the subject, never in
	// the body, so the permissions of NATS decide who may act for whom.
	user := strings.Split(event.Subject(), ".")[2]
	request := nats.NewMsg("plugfn.action." + user + ".slack.chat.postMessage")
	id := requestID(event.Headers().Get("ce-id"))
	request.Header.Set("Plugfn-Id", id)
	request.Data, _ = json.Marshal(map[string]string{ // cannot fail: all text
		"channel": channel,
		"text":    "New issue: " + slackEscape(payload.Issue.Title),
	})
	if _, err := js.PublishMsg(ctx, request); err != nil { // returns once it is stored
		return fmt.Errorf("publishing the request: %w", err)
	}
	log.Print("request    ", request.Subject, "  ", id)

	answer, err := await(ctx, js, user, id)
	if err != nil {
		return err // not acknowledged, so the event comes again
	}
	if err := event.DoubleAck(ctx); err != nil {
		return fmt.Errorf("acknowledging the event: %w", err)
	}
	if answer.Outcome != "succeeded" {
		// PlugFn has already retried whatever is safe to retry: this is the end.
		return fmt.Errorf("%s: %s: %s", answer.Outcome, answer.Error.Code, answer.Error.Message)
	}
	return nil
}

// await returns the one result of a request. It reads the stored results from
// the beginning, so it does not matter whether the result comes later or was
// there before it was asked for.
func await(ctx context.Context, js jetstream.JetStream, user, id string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // less than AckWait
	defer cancel()
	results, err := js.OrderedConsumer(ctx, "PLUGFN_RESULTS", jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{"plugfn.result." + user + ".slack.*." + id}, // the star is the outcome
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return result{}, fmt.Errorf("listening to results: %w", err)
	}
	msg, err := results.Next(jetstream.FetchContext(ctx))
	if err != nil {
		return result{}, fmt.Errorf("no result of %s yet: %w", id, err)
	}
	log.Print("result     ", msg.Subject())
	var r result
	if err := json.Unmarshal(msg.Data(), &r); err != nil {
		return result{}, fmt.Errorf("reading the result of %s: %w", id, err)
	}
	return r, nil
}

// requestID names the request that an event leads to. GitHub's ids are UUIDs;
// one that could not be part of a subject is hashed.
func requestID(eventID string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_-]{1,48}$`).MatchString(eventID) {
		return "to-slack-" + eventID
	}
	sum := sha256.Sum256([]byte(eventID))
	return "to-slack-" + hex.EncodeToString(sum[:16])
}

// slackEscape makes plain text of what a stranger wrote: as markup, a title
// such as <!channel> would call everybody.
func slackEscape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
