package providers

import (
	"net/http"
	"net/url"
	"slices"
)

// Reduced is d with what its events are made of and no more: its body, the
// headers and the parameters of the URL that the block reads, Content-Type and
// User-Agent. What bears a signature or a secret is left out, so that a reduced
// delivery cannot be verified, but read again: also by a block that has come to
// read the same parts otherwise.
func (w *Webhooks) Reduced(d *Delivery) *Delivery {
	headers, queries := w.reads()
	out := &Delivery{Method: d.Method, Header: http.Header{}, Body: d.Body, ReceivedAt: d.ReceivedAt}
	for _, name := range headers {
		if values := d.Header.Values(name); len(values) > 0 {
			out.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	kept := url.Values{}
	for _, name := range queries {
		if values := d.queries(name); len(values) > 0 {
			kept[name] = values
		}
	}
	if len(kept) > 0 {
		out.URL = &url.URL{RawQuery: kept.Encode()}
	}
	return out
}

// reads lists the headers and the parameters of the URL that events are made of.
func (w *Webhooks) reads() (headers, queries []string) {
	headers = append([]string{"Content-Type", "User-Agent"}, w.KeepHeader...)
	see := func(sources ...Source) {
		for _, s := range sources {
			switch s.kind {
			case sourceHeader:
				headers = append(headers, s.name)
			case sourceQuery:
				queries = append(queries, s.name)
			}
		}
	}
	for _, some := range [][]Compose{w.DeliveryID, w.Event, w.Subject} {
		for _, c := range some {
			see(c...)
		}
	}
	see(w.Account...)
	see(w.Order...)
	for _, t := range w.Time {
		see(t.From)
	}
	secret := append([]string{"Authorization", "Proxy-Authorization", "Cookie"}, w.secretHeaders()...)
	headers = slices.DeleteFunc(headers, func(name string) bool {
		return slices.Contains(secret, http.CanonicalHeaderKey(name))
	})
	secret = w.secretQueries()
	return headers, slices.DeleteFunc(queries, func(name string) bool { return slices.Contains(secret, name) })
}

// secretQueries lists the parameters of the URL that bear signatures or secrets.
func (w *Webhooks) secretQueries() (names []string) {
	for _, v := range w.Verifiers {
		for _, v := range append([]*Verifier{v}, v.Also...) {
			for _, s := range v.Signature.From {
				if s.kind == sourceQuery {
					names = append(names, s.name)
				}
			}
			for _, c := range v.Expect {
				if len(secretsOf(c.want)) > 0 && c.from.kind == sourceQuery {
					names = append(names, c.from.name)
				}
			}
		}
	}
	return names
}
