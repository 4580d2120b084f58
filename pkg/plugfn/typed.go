package plugfn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
)

// Setting changes a request before it is sent, for what the methods of generated
// packages have no parameter for: func(r *plugfn.Request) { r.ID = "order-17" }.
type Setting = func(*Request)

// Answer is a result whose data was read as a T.
type Answer[T any] struct {
	Result   // its own Data is what came, with what T has no field for
	Data   T // the zero value where there was none
}

// Call is [Client.Do] for an action whose data is a T. Of several pages (MaxPages)
// the data is the list of their items: that is refused where T is a
// struct or a map, see [Each].
func Call[T any](ctx context.Context, c *Client, r Request, set ...Setting) (Answer[T], error) {
	for _, change := range set {
		change(&r)
	}
	if kind := reflect.TypeFor[T]().Kind(); r.MaxPages > 1 && (kind == reflect.Struct || kind == reflect.Map) {
		return Answer[T]{}, refused("MaxPages %d: one page is asked for here; the items of all come one by one from Each, or from the method whose name ends in All", r.MaxPages)
	}
	result, err := c.Do(ctx, r)
	answer := Answer[T]{Result: result}
	if err != nil || len(result.Data) == 0 {
		return answer, err
	}
	answer.Data, err = Decode[T](result)
	return answer, err
}

// Each yields the items of a list, page by page as they are asked for, each page by
// a request of its own. items is the JSON pointer to them in the data of a page; ""
// where the data is the list. An error is the last thing that it yields.
//
// With an ID, the requests of the pages after the first have it with .2, .3 and so
// on behind.
func Each[T any](ctx context.Context, c *Client, r Request, items string, set ...Setting) iter.Seq2[T, error] {
	for _, change := range set {
		change(&r)
	}
	r.MaxPages = 0
	return func(yield func(T, error) bool) {
		request, id := r, r.ID
		for page := 1; ; page++ {
			result, err := c.Do(ctx, request)
			var all []T
			if err == nil {
				all, err = itemsOf[T](&result, items)
			}
			for _, item := range all {
				if !yield(item, nil) {
					return
				}
			}
			if err == nil && !result.More {
				return
			}
			if err == nil {
				request.Params, err = nextParams(request.Params, &result)
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			if id != "" {
				request.ID = fmt.Sprintf("%s.%d", id, page+1)
			}
		}
	}
}

// itemsOf reads the list in the data of one page.
func itemsOf[T any](r *Result, pointer string) ([]T, error) {
	at := r.Data
	for _, token := range strings.Split(pointer, "/")[1:] {
		var inside map[string]json.RawMessage
		if err := json.Unmarshal(at, &inside); err != nil {
			return nil, fmt.Errorf("data of result %s: %w", r.ID, err)
		}
		at = inside[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
	}
	if len(at) == 0 {
		return nil, nil // some providers leave an empty list out
	}
	var all []T
	if err := json.Unmarshal(at, &all); err != nil {
		return nil, fmt.Errorf("data of result %s: %w", r.ID, err)
	}
	return all, nil
}

// nextParams are the parameters of the page after the one in r.
func nextParams(params any, r *Result) (json.RawMessage, error) {
	if len(r.Next) == 0 {
		return nil, fmt.Errorf("result %s: there are further pages, and the provider does not say with which parameters: ask for several at once by Client.Do with MaxPages", r.ID)
	}
	raw, err := encodeParams(params)
	if err != nil {
		return nil, err
	}
	whole := map[string]json.RawMessage{}
	if err := errors.Join(json.Unmarshal(raw, &whole), json.Unmarshal(r.Next, &whole)); err != nil {
		return nil, fmt.Errorf("parameters of the page after result %s: %w", r.ID, err)
	}
	return json.Marshal(whole)
}

// Received is an event whose payload was read as a T.
type Received[T any] struct {
	*Event  // its Data is what came, with what T has no field for
	Payload T
}

// On is [Client.Events] for events whose payload is a T. One that is none is
// dropped, and the reason goes to the log.
func On[T any](ctx context.Context, c *Client, f Filter, handle func(context.Context, *Received[T]) error) error {
	return c.Events(ctx, f, func(ctx context.Context, e *Event) error {
		r := &Received[T]{Event: e}
		if err := json.Unmarshal(e.Data, &r.Payload); err != nil {
			return Drop(fmt.Errorf("payload of %s: %w", e.Subject, err))
		}
		return handle(ctx, r)
	})
}

// WithExtra is the JSON of fields, a struct, with further members. A field wins over
// a member of its name.
func WithExtra(fields any, extra map[string]any) ([]byte, error) {
	text, err := json.Marshal(fields)
	if err != nil || len(extra) == 0 {
		return text, err
	}
	whole := map[string]json.RawMessage{}
	for name, value := range extra {
		if whole[name], err = json.Marshal(value); err != nil {
			return nil, fmt.Errorf("member %s: %w", name, err)
		}
	}
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}
