package events

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestSubscriberIgnoresForgedStatus has senders speak like the server. nats.go's
// own consumers lose such messages or stop at them.
func TestSubscriberIgnoresForgedStatus(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "status")
	statuses := []nats.Header{
		{"Status": {"100"}},
		{"Status": {"404"}},
		{"Status": {"408"}, "Description": {"Request Timeout"}},
		{"Status": {"409"}, "Description": {"Consumer Deleted"}},
		{"Status": {"503"}},
	}
	for _, h := range statuses {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: "status.a", Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	store(t, js, "status.a", "end")
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), MaxInFlight: 1}), "status.a")
	for _, h := range statuses {
		m := receive(t, messages)
		if got := m.Metadata.Get("Status"); got != h.Get("Status") {
			t.Errorf("got the message with status %q, want %q", got, h.Get("Status"))
		}
		m.Ack()
	}
	receiveBodies(t, messages, "end")
	if got := consumerInfo(t, js, "STATUS", "d").Config.DeliverPolicy; got != jetstream.DeliverAllPolicy {
		t.Errorf("the consumer was made again: it delivers %s", got)
	}
}

// TestSubscriberMetadataCannotBeForged writes headers to the wire by hand, as
// nats.go does not let them pass.
func TestSubscriberMetadataCannotBeForged(t *testing.T) {
	b := startBroker(t)
	js := b.connect(t)
	addStream(t, js, "forge")
	header := "NATS/1.0\r\n"
	for _, name := range []string{MetaSubject, MetaStream, MetaSequence, MetaDeliveries, MetaTime} {
		header += name + ": 99\r\n"
	}
	header += "X-Own: kept\r\n\r\n"
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.server.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"verbose\":false}\r\nHPUB forge.a %d %d\r\n%s\r\nPING\r\n", len(header), len(header), header)
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != "PONG"; {
		if strings.HasPrefix(lines.Text(), "-ERR") {
			t.Fatal(lines.Text())
		}
	}
	m := receive(t, subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js}), "forge.>"))
	m.Ack()
	r, err := ReceivedOf(m)
	if err != nil {
		t.Fatal(err)
	}
	if r.Subject != "forge.a" || r.Stream != "FORGE" || r.Sequence != 1 || r.Deliveries != 1 || r.Time.IsZero() {
		t.Errorf("received %+v", r)
	}
	if m.Metadata.Get("X-Own") != "kept" || m.UUID != "FORGE:1" {
		t.Errorf("UUID %q, metadata %v", m.UUID, m.Metadata)
	}
}
