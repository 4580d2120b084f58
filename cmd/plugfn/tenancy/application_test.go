package tenancy_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// application is one that has no more than its credential.
type application struct {
	*testing.T
	*nats.Conn
	credential bus.Credential
	js         jetstream.JetStream
	faults     chan error
}

func (h *house) add(user string) *application {
	h.Helper()
	c, err := h.admin.AddUser(h.Context(), user)
	if err != nil {
		h.Fatal(err)
	}
	if h.admit != nil {
		h.admit()
	}
	return h.enter(c)
}

func (h *house) enter(c bus.Credential) *application {
	h.Helper()
	pair, err := nkeys.FromSeed(c.Seed())
	if err != nil {
		h.Fatal(err)
	}
	a := &application{T: h.T, credential: c, faults: make(chan error, 100)}
	a.Conn, err = nats.Connect(h.url, nats.Nkey(c.Key, pair.Sign), nats.CustomInboxPrefix(c.InboxPrefix()),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { a.faults <- err }))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(a.Close)
	if a.js, err = jetstream.New(a.Conn); err != nil {
		h.Fatal(err)
	}
	return a
}

// hear subscribes to a subject.
func (a *application) hear(subject string) *nats.Subscription {
	a.Helper()
	sub, err := a.SubscribeSync(subject)
	if err == nil {
		err = a.Flush()
	}
	if err != nil {
		a.Fatal(err)
	}
	return sub
}

// pulled takes n messages from the application's consumer and returns their
// subjects.
func (a *application) pulled(stream string, n int) (subjects []string) {
	a.Helper()
	consumer, err := a.js.Consumer(a.Context(), stream, events.ApplicationName(a.credential.User))
	if err != nil {
		a.Fatal(err)
	}
	for range n {
		msg, err := consumer.Next(jetstream.FetchMaxWait(timeout))
		if err != nil {
			a.Fatal(err)
		}
		if err := msg.DoubleAck(a.Context()); err != nil {
			a.Fatal(err)
		}
		subjects = append(subjects, msg.Subject())
	}
	return subjects
}

func (a *application) next(sub *nats.Subscription) *nats.Msg {
	a.Helper()
	msg, err := sub.NextMsg(timeout)
	if err != nil {
		a.Fatalf("%s: %v", sub.Subject, err)
	}
	return msg
}

func (a *application) checkFaults() {
	a.Helper()
	select {
	case err := <-a.faults:
		a.Error(err)
	default:
	}
}
