package events

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// broker is a NATS server in this process that can be restarted in place.
type broker struct {
	opts   *server.Options
	server *server.Server
}

func startBroker(tb testing.TB) *broker {
	tb.Helper()
	b := &broker{opts: &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: tb.TempDir(),
		NoLog: true, NoSigs: true,
	}}
	b.start(tb)
	tb.Cleanup(b.stop)
	return b
}

func (b *broker) start(tb testing.TB) {
	tb.Helper()
	s, err := server.NewServer(b.opts)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		tb.Fatal("server is not ready")
	}
	b.server = s
	opts := b.opts.Clone()
	opts.Port = s.Addr().(*net.TCPAddr).Port // where its clients will look for it again
	b.opts = opts
}

func (b *broker) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *broker) dial(tb testing.TB, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(b.server.ClientURL(), append(opts,
		nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

func (b *broker) connect(tb testing.TB, opts ...nats.Option) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(b.dial(tb, opts...))
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// addStream makes a stream NAME that keeps name.>.
func addStream(tb testing.TB, js jetstream.JetStream, name string) jetstream.Stream {
	tb.Helper()
	stream, err := js.CreateStream(tb.Context(), jetstream.StreamConfig{
		Name:     strings.ToUpper(name),
		Subjects: []string{name + ".>"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return stream
}

// store publishes bodies one by one.
func store(tb testing.TB, js jetstream.JetStream, subject string, bodies ...string) {
	tb.Helper()
	for _, body := range bodies {
		if _, err := js.Publish(tb.Context(), subject, []byte(body)); err != nil {
			tb.Fatal(err)
		}
	}
}

// stored is how many messages stream has.
func stored(tb testing.TB, stream jetstream.Stream) int {
	tb.Helper()
	info, err := stream.Info(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return int(info.State.Msgs)
}

func numbered(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprint(i)
	}
	return bodies
}

func newTestSubscriber(tb testing.TB, cfg SubscriberConfig) *Subscriber {
	tb.Helper()
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = 5 * time.Second // a failed test leaves messages unacked
	}
	sub, err := NewSubscriber(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeSubscriber(tb, sub) })
	return sub
}

func closeSubscriber(tb testing.TB, sub *Subscriber) {
	tb.Helper()
	if err := sub.Close(); err != nil {
		tb.Error(err)
	}
}

func subscribe(tb testing.TB, sub *Subscriber, topic string) <-chan *message.Message {
	tb.Helper()
	messages, err := sub.Subscribe(context.Background(), topic)
	if err != nil {
		tb.Fatal(err)
	}
	return messages
}

// durable gives each topic the same durable consumer.
func durable(name string) func(string) string { return func(string) string { return name } }

func receive(tb testing.TB, messages <-chan *message.Message) *message.Message {
	tb.Helper()
	select {
	case m, ok := <-messages:
		if !ok {
			tb.Fatal("channel closed")
		}
		return m
	case <-time.After(patience):
		tb.Fatal("no message came")
	}
	return nil
}

// receiveBodies receives and acks len(want) messages with these bodies in this order.
func receiveBodies(tb testing.TB, messages <-chan *message.Message, want ...string) {
	tb.Helper()
	for i, body := range want {
		m := receive(tb, messages)
		if string(m.Payload) != body {
			tb.Fatalf("message %d is %.40q, want %.40q", i, m.Payload, body)
		}
		m.Ack()
	}
}

func deliveries(tb testing.TB, m *message.Message) uint64 {
	tb.Helper()
	r, err := ReceivedOf(m)
	if err != nil {
		tb.Fatal(err)
	}
	return r.Deliveries
}

// eventually waits until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("in vain: " + what)
		}
	}
}

func consumerInfo(tb testing.TB, js jetstream.JetStream, stream, name string) *jetstream.ConsumerInfo {
	tb.Helper()
	consumer, err := js.Consumer(tb.Context(), stream, name)
	if err != nil {
		tb.Fatal(err)
	}
	return consumer.CachedInfo()
}
