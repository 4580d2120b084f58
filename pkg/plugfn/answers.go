package plugfn

import (
	"errors"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// answers brings the answer to each call to whoever waits for it: one
// subscription for all, as the client of NATS has for its own requests. Unlike
// there, whoever waits can look elsewhere in between.
type answers struct {
	prefix string
	sub    *nats.Subscription

	mu      sync.Mutex
	waiting map[string]chan *nats.Msg // :: last token of the inbox → who waits
}

func newAnswers(conn *nats.Conn) (*answers, error) {
	a := &answers{prefix: conn.NewInbox() + ".", waiting: map[string]chan *nats.Msg{}}
	var err error
	a.sub, err = conn.Subscribe(a.prefix+"*", a.deliver)
	return a, err
}

func (a *answers) deliver(msg *nats.Msg) {
	token := strings.TrimPrefix(msg.Subject, a.prefix)
	a.mu.Lock()
	to := a.waiting[token]
	delete(a.waiting, token)
	a.mu.Unlock()
	if to != nil {
		to <- msg // there is room for the one answer
	}
}

// expect returns an inbox and the channel of its one answer. leave ends that.
func (a *answers) expect() (inbox string, answer <-chan *nats.Msg, leave func()) {
	token, to := nuid.Next(), make(chan *nats.Msg, 1)
	a.mu.Lock()
	a.waiting[token] = to
	a.mu.Unlock()
	return a.prefix + token, to, func() {
		a.mu.Lock()
		delete(a.waiting, token)
		a.mu.Unlock()
	}
}

func (a *answers) close() error {
	if err := a.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
		return err
	}
	return nil
}
