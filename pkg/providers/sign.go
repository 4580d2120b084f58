package providers

import (
	"fmt"
	"net/http"
	"time"
)

// Sign puts the signature on d, and the timestamp d.ReceivedAt where the
// provider sends one, as the first verifier of the pack expects it. It is the
// sender's side of [Webhooks.Verify], for trying things out.
func (w *Webhooks) Sign(d *Delivery, secret Secret) error {
	v := w.Verifiers[0]
	key, err := decodeKey(v.Key, secret)
	if err != nil {
		return fmt.Errorf("signing a delivery: %w", err)
	}
	if d.Header == nil {
		d.Header = http.Header{}
	}
	stamp := v.Timestamp.write(d.Header, d.ReceivedAt)
	signature := v.Signature.encode(v.sum(key, stamp, d.Body))
	if v.Timestamp != nil && v.Timestamp.From.name == v.Signature.From.name {
		signature = keyValue(v.Timestamp.Pick, stamp) + v.Signature.Split + signature
	}
	d.Header.Set(v.Signature.From.name, signature)
	return nil
}

// write sets the header of the timestamp and returns what the message has of it.
func (t *Timestamp) write(h http.Header, at time.Time) string {
	if t == nil {
		return ""
	}
	stamp := writeTime(at, t.Format)
	h.Set(t.From.name, keyValue(t.Pick, stamp))
	return stamp
}
