package commit

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func ack(sequence uint64, duplicate bool) jetstream.PubAck {
	return jetstream.PubAck{Sequence: sequence, Duplicate: duplicate}
}

// TestRead reads answers as servers write them, whichever way they are read.
func TestRead(t *testing.T) {
	for text, want := range map[string]answer{
		`{"stream":"E","seq":17}`:                            {PubAck: ack(17, false)},
		`{"stream":"E", "seq":17}`:                           {PubAck: ack(17, false)},
		`{"stream":"E","seq":17,"duplicate": true}`:          {PubAck: ack(17, true)},
		`{"stream":"E","domain":"hub","seq":9}`:              {PubAck: ack(9, false)},
		`{"stream":"E","seq":30,"batch":"b","count":12}`:     {PubAck: ack(30, false), Count: 12},
		`{"stream":"E","seq":18446744073709551615}`:          {PubAck: ack(1<<64-1, false)},
		`{"type":"x","seq":3,"stream":"E","duplicate":true}`: {PubAck: ack(3, true)},
	} {
		got, err := read(&nats.Msg{Data: []byte(text)})
		if err != nil || got.Sequence != want.Sequence || got.Duplicate != want.Duplicate || got.Count != want.Count {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "{}", `{"stream":"E"`, `{"stream":"E","seq":}`, `{"stream":"E","seq":1`, `{"stream":"E","seq":-1}`, `{"stream":"E","seq":1}x`,
		`{"error":{"code":503,"err_code":10077,"description":"full"}}`, `{"stream":"E","seq":0,"error":{"code":400,"err_code":10071}}`,
	} {
		if got, err := read(&nats.Msg{Data: []byte(text)}); err == nil {
			t.Errorf("%s: %+v, want an error", text, got)
		}
	}
}
