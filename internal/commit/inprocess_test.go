package commit

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus/bustest"
)

// TestSameIDInProcess: a cluster that stores the same id at this moment says so,
// which is neither a refusal nor an outage: a look later it says where that is.
func TestSameIDInProcess(t *testing.T) {
	js := bustest.New(t).JetStream()
	answers := []string{
		`{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"S","seq":0}`,
		`{"stream":"S","seq":7,"duplicate":true}`,
	}
	asked := 0
	sub, err := js.Conn().Subscribe("of.no.stream", func(msg *nats.Msg) {
		if err := msg.Respond([]byte(answers[min(asked, len(answers)-1)])); err != nil {
			t.Error(err)
		}
		asked++
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection ends with the test
	store, err := New(Config{JetStream: js})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := store.Publish(t.Context(), &nats.Msg{Subject: "of.no.stream", Header: nats.Header{"Nats-Msg-Id": {"a"}}})
	if err != nil || ack.Sequence != 7 || !ack.Duplicate {
		t.Errorf("%+v, %v", ack, err)
	}
}
