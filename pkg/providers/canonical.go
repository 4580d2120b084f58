package providers

import (
	"io"
	"maps"
	"slices"
	"strings"
)

const (
	contentfulHeaders = "X-Contentful-Signed-Headers"
	contentfulTime    = "X-Contentful-Timestamp"
	maxSigned         = 50 // headers that one signature may name
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// snsPointers are the members that a message of Amazon SNS is read by, besides
// those that the pack reads.
func snsPointers() []string {
	return []string{"/Type", "/Message", "/MessageId", "/Subject", "/SubscribeURL", "/Timestamp", "/Token", "/TopicArn"}
}

// sns writes the members that Amazon SNS signs: each name and its value on a
// line of its own.
func (in *inspection) sns() (string, error) {
	r := in.read()
	if r == nil {
		return "", refused(ReasonMalformed)
	}
	names := []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	kind, _ := r.member("/Type")
	switch kind {
	case "Notification":
		names = []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
	default:
		return "", refused(ReasonMalformed)
	}
	var b strings.Builder
	for _, name := range names {
		value, ok := r.member("/" + name)
		if !ok && name == "Subject" {
			continue
		}
		if !ok || name != "Message" && strings.Contains(value, "\n") { // which could hide the next member in this one
			return "", refused(ReasonMalformed)
		}
		b.WriteString(name + "\n" + value + "\n")
	}
	return b.String(), nil
}

// member is the whole text at a pointer of the JSON, however long.
func (r *Reading) member(pointer string) (string, bool) {
	slot, known := r.webhooks.pointers.slots[pointer]
	if !known || r.doc == nil {
		return "", false
	}
	return r.spans[slot].whole(r.doc)
}

// contentful writes the canonical request of Contentful: method, path, the
// headers that the request says to be signed, body.
func (in *inspection) contentful(h io.Writer) error {
	list, err := in.only(Source{kind: sourceHeader, name: contentfulHeaders})
	if err != nil {
		return err
	}
	path, err := in.url("registered_path")
	if err != nil {
		return err
	}
	names := strings.Split(strings.ToLower(list), ",")
	if len(names) > maxSigned {
		return refused(ReasonMalformed)
	}
	for _, needed := range []string{contentfulHeaders, contentfulTime} { // the signer puts them in, listed or not
		names = append(names, strings.ToLower(needed))
	}
	slices.Sort(names)
	var lines []string
	for _, name := range slices.Compact(names) {
		value := in.d.Header.Get(name)
		if value == "" {
			continue // it was taken for absent by the signer as well, or the signature will not match
		}
		lines = append(lines, name+":"+strings.TrimSpace(value))
	}
	_, _ = io.WriteString(h, in.d.Method+"\n"+path+"\n"+strings.Join(lines, ";")+"\n")
	_, _ = h.Write(in.d.Body)
	return nil
}
