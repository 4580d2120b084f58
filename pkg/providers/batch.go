package providers

import (
	"errors"
	"fmt"
)

const (
	defaultBatch = 1000
	limitBatch   = 10_000
)

// piece is one item of a batch, and what holds the list that it is in: nil
// where that is the delivery itself.
type piece struct{ outer, item []byte }

// pieces returns the items of the batch, in their order.
func (r *Reading) pieces() ([]piece, error) {
	b := r.webhooks.Batch
	list, ok := r.nested(&r.webhooks.pointers, part{doc: r.doc, spans: r.spans}, b.Items[0])
	if !ok {
		return nil, unparsable(errors.New("without the list of its items"))
	}
	spans, ok := elements(list, b.Max)
	if !ok {
		return nil, unparsable(fmt.Errorf("with more than %d items", b.Max))
	}
	var all []piece
	for _, s := range spans {
		item := list[s.start:s.end]
		if len(b.Items) == 1 {
			all = append(all, piece{item: item})
			continue
		}
		inner, err := r.inner(item, b.Max-len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, inner...)
	}
	return all, nil
}

// inner returns the items of the list inside an item of the outer list.
func (r *Reading) inner(outer []byte, limit int) ([]piece, error) {
	spans, err := r.webhooks.outers.scan(outer)
	if err != nil {
		return nil, unparsable(err)
	}
	b := r.webhooks.Batch
	list, ok := r.nested(&r.webhooks.outers, part{doc: outer, spans: spans}, b.Items[1])
	if !ok && !b.Or.IsZero() {
		list, ok = r.nested(&r.webhooks.outers, part{doc: outer, spans: spans}, b.Or)
	}
	if !ok {
		return nil, unparsable(errors.New("without the list inside an item"))
	}
	items, ok := elements(list, limit)
	if !ok {
		return nil, unparsable(fmt.Errorf("with more than %d items", b.Max))
	}
	all := make([]piece, len(items))
	for i, s := range items {
		all[i] = piece{outer: outer, item: list[s.start:s.end]}
	}
	return all, nil
}

// nested is what a pointer leads to if that is an array or an object.
func (r *Reading) nested(set *pointerSet, in part, s Source) ([]byte, bool) {
	slot, known := set.slots[s.name]
	if !known || in.spans == nil || !in.spans[slot].nested {
		return nil, false
	}
	return in.doc[in.spans[slot].start:in.spans[slot].end], true
}

// enter makes an item the one that item and outer sources read.
func (r *Reading) enter(p piece) error {
	r.item, r.outer = part{}, part{}
	spans, err := r.webhooks.items.scan(p.item)
	if err != nil {
		return unparsable(err)
	}
	r.item = part{doc: p.item, spans: spans}
	if p.outer == nil {
		return nil
	}
	if spans, err = r.webhooks.outers.scan(p.outer); err != nil {
		return unparsable(err)
	}
	r.outer = part{doc: p.outer, spans: spans}
	return nil
}
