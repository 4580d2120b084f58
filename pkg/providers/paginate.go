package providers

import (
	"cmp"
	"maps"
	"net/http"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// PageType is how a provider is asked for the next page of a list.
type PageType string

// The ways to ask for the next page.
const (
	PageLink   PageType = "link"   // the answer has its URL
	PageCursor PageType = "cursor" // the answer has a text for a parameter
	PageNumber PageType = "page"   // a parameter counts pages
	PageOffset PageType = "offset" // a parameter counts items
)

// Paginate is how the pages of a read hang together.
type Paginate struct {
	Type  PageType `yaml:"type"`
	Items Source   `yaml:"items"` // json:/pointer to the list in the data; not written: the data is the list

	// Next is what leads on. Of link: json:/pointer to the URL, not written: the
	// Link header (RFC 8288). Of cursor: json:/pointer to the text in the body.
	// Absent, null or empty on the last page.
	Next  Source `yaml:"next"`
	Last  Source `yaml:"last"`  // of cursor, instead of next: json:/pointer to the text in the last item
	More  Source `yaml:"more"`  // json:/pointer to what is true while there are more pages; not written: next decides
	Param string `yaml:"param"` // of cursor, page and offset: the parameter
	First *int   `yaml:"first"` // of page: the number of the first one; not written: 1
	Size  string `yaml:"size"`  // of page and offset: the parameter that sets how many items a full page has

	MaxPages int `yaml:"max_pages"` // that one request may have; not written: 100
}

const (
	defaultMaxPages = 100
	maxMaxPages     = 1000
)

// Pages returns how many pages a request of the action may have: 1 where its
// answers do not hang together.
func (a *Action) Pages() int {
	if a.Paginate == nil {
		return 1
	}
	return cmp.Or(a.Paginate.MaxPages, defaultMaxPages)
}

// ItemsPointer is the JSON pointer to the list in the data of a page; "" where the
// data is the list.
func (p *Paginate) ItemsPointer() string {
	var b strings.Builder
	for _, token := range p.Items.pointer {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return b.String()
}

func (a *Action) checkPaginate(path string, r report) {
	p := a.Paginate
	if p == nil {
		return
	}
	if a.Effect != EffectRead || a.Request.Method != http.MethodGet && a.Request.Method != http.MethodPost {
		r(path, "has no place here: only a read has pages")
	}
	for name, s := range map[string]Source{"items": p.Items, "next": p.Next, "last": p.Last, "more": p.More} {
		if !s.IsZero() && (s.kind != sourceJSON || s.optional) {
			r(path+"."+name, "must be json:/pointer")
		}
	}
	switch p.Type {
	case PageLink:
		p.checkUnused(path, r, map[string]bool{"last": !p.Last.IsZero(), "param": p.Param != "", "first": p.First != nil, "size": p.Size != ""})
	case PageCursor:
		if p.Next.IsZero() == p.Last.IsZero() {
			r(path+".next", "of type cursor either next or last is needed")
		}
		p.checkUnused(path, r, map[string]bool{"first": p.First != nil, "size": p.Size != ""})
	case PageNumber, PageOffset:
		p.checkUnused(path, r, map[string]bool{"next": !p.Next.IsZero(), "last": !p.Last.IsZero(), "first": p.First != nil && p.Type == PageOffset})
	default:
		r(path+".type", "must be %s, %s, %s or %s", PageLink, PageCursor, PageNumber, PageOffset)
		return
	}
	a.checkPageParams(path, r)
	if p.MaxPages < 0 || p.MaxPages > maxMaxPages {
		r(path+".max_pages", "must be from 1 to %d", maxMaxPages)
	}
}

func (p *Paginate) checkUnused(path string, r report, used map[string]bool) {
	for name, written := range used {
		if written {
			r(path+"."+name, "has no place in type %s", p.Type)
		}
	}
}

func (a *Action) checkPageParams(path string, r report) {
	p := a.Paginate
	if p.Param == "" && p.Type != PageLink {
		r(path+".param", "is missing")
	}
	for field, name := range map[string]string{"param": p.Param, "size": p.Size} {
		if name == "" {
			continue
		}
		property, ok := a.Params.properties()[name].(map[string]any)
		switch {
		case !ok:
			r(path+"."+field, "params has no property %s%s", name, nearest.Hint(name, maps.Keys(a.Params.properties())))
		case p.Type != PageCursor && property["type"] != "integer":
			r(path+"."+field, "params.properties.%s must have type: integer", name)
		}
	}
}
