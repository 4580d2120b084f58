package draft

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// pages is how the pages of a list hang together, as far as it can be seen.
type pages struct {
	kind  string // link, cursor, page, offset
	param string // the parameter
	size  string
	items string // pointer to the list; "": the answer is the list
	next  string // pointer to the cursor
	last  string // instead of next: pointer to the cursor in the last item
	more  string // pointer to what is true while there are more
	first int    // of page
}

// setAnswer says what the action gives back, and how it goes on.
func (a *api) setAnswer(act *Action, d *Draft) {
	ans := act.op.answer
	if ans == nil {
		return
	}
	switch {
	case ans.file && act.Method == http.MethodGet:
		act.file = true
	case ans.file || ans.other:
		d.note(act.op.place(), "the answer is no JSON: the data is one text")
	case act.Method == http.MethodGet:
		act.pages = a.pagesOf(act, ans)
	}
}

// pagesOf recognises the pages of a list by the names of parameters and of what
// is in the answer.
func (a *api) pagesOf(act *Action, ans *answer) *pages {
	c := &converter{source: a.source, depth: 3, left: 120, answer: true}
	schema := c.convert(ans.schema)
	items, ok := itemsOf(schema)
	if !ok {
		return nil
	}
	byName := map[string]string{} // :: name in the query, folded → parameter
	for name, template := range act.place.query {
		param := strings.TrimSuffix(strings.TrimPrefix(template, "{{params."), "}}")
		if act.properties()[param] != nil {
			byName[fold(name)] = param
		}
	}
	size := act.firstInteger(byName, "perpage", "pagesize", "limit", "maxresults", "count", "size", "first", "top", "pagelimit", "itemsperpage")
	if next := cursorIn(schema, "", 0); next != "" {
		for _, name := range []string{"cursor", "pagetoken", "nexttoken", "nextpagetoken", "startingafter", "after", "continuationtoken", "continuation", "pagecursor", "marker", "startcursor", "nextcursor"} {
			if param := byName[name]; param != "" && act.typeOf(param) == "string" {
				return &pages{kind: "cursor", param: param, next: next, items: items}
			}
		}
	}
	if param := byName["startingafter"]; param != "" && act.typeOf(param) == "string" && objectOf(schema["properties"])["has_more"] != nil {
		return &pages{kind: "cursor", param: param, last: "/id", more: "/has_more", items: items}
	}
	page := act.firstInteger(byName, "page", "pagenumber", "pageno", "pagenum", "pageindex", "currentpage")
	if ans.links && (page != "" || size != "" || len(byName) > 0) {
		return &pages{kind: "link", items: items, param: page}
	}
	if page != "" {
		return &pages{kind: "page", param: page, size: size, items: items, first: act.firstPage(page)}
	}
	if offset := act.firstInteger(byName, "offset", "skip", "startat", "startindex", "pageoffset"); offset != "" && size != "" && offset != size {
		return &pages{kind: "offset", param: offset, size: size, items: items}
	}
	return nil
}

func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", "[", "", "]", "", "$", "", ".", "").Replace(s))
}

func (act *Action) typeOf(param string) string {
	return textOf(objectOf(act.properties()[param])["type"])
}

func (act *Action) firstInteger(byName map[string]string, names ...string) string {
	for _, name := range names {
		if param := byName[name]; param != "" && act.typeOf(param) == "integer" {
			return param
		}
	}
	return ""
}

// firstPage is 0 where the description lets pages begin there.
func (act *Action) firstPage(param string) int {
	schema := objectOf(act.properties()[param])
	if scalarText(schema["default"]) == "0" || schema["default"] == nil && scalarText(schema["minimum"]) == "0" {
		return 0
	}
	return 1
}

// itemsOf finds the list in an answer.
func itemsOf(schema object) (pointer string, ok bool) {
	if slices.Contains(typesOf(schema), "array") {
		return "", true
	}
	var lists []string
	fields := objectOf(schema["properties"])
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(typesOf(objectOf(fields[name])), "array") {
			lists = append(lists, name)
		}
	}
	for _, usual := range []string{"data", "items", "results", "values", "records", "entries"} {
		if slices.Contains(lists, usual) {
			return "/" + usual, true
		}
	}
	if len(lists) == 1 && isName(lists[0]) {
		return "/" + lists[0], true
	}
	return "", false
}

// cursorIn finds what leads to the next page in an answer.
func cursorIn(schema object, at string, depth int) string {
	fields := objectOf(schema["properties"])
	sorted := slices.Sorted(maps.Keys(fields))
	for _, name := range sorted {
		switch fold(name) {
		case "nextcursor", "nextpagetoken", "nexttoken", "nextmarker", "endcursor", "continuationtoken", "nextpagecursor", "nextcontinuationtoken", "pagetoken":
			if types := typesOf(objectOf(fields[name])); isName(name) && (len(types) == 0 || slices.Contains(types, "string")) {
				return at + "/" + name
			}
		}
	}
	if depth > 0 {
		return ""
	}
	for _, name := range sorted {
		switch fold(name) {
		case "pagination", "paging", "meta", "metadata", "responsemetadata", "pageinfo", "page", "cursors", "cursor":
			if found := cursorIn(objectOf(fields[name]), at+"/"+name, depth+1); found != "" && isName(name) {
				return found
			}
		}
	}
	return ""
}

// failureMessage finds where failures say what is wrong; "" where they do not.
func (a *api) failureMessage(chosen []*operation) string {
	votes := map[string]int{}
	for _, op := range chosen[:min(len(chosen), 50)] {
		for _, schema := range op.failures {
			c := &converter{source: a.source, depth: 3, left: 60, answer: true}
			if pointer := messageIn(c.convert(schema), ""); pointer != "" {
				votes[pointer]++
			}
		}
	}
	best := ""
	for _, pointer := range slices.Sorted(maps.Keys(votes)) {
		if votes[pointer] > votes[best] {
			best = pointer
		}
	}
	return best
}

func messageIn(schema object, at string) string {
	fields := objectOf(schema["properties"])
	for _, name := range []string{"message", "detail", "error_description", "error_message", "errorMessage", "description", "title", "error", "fault"} {
		field := objectOf(fields[name])
		switch {
		case field == nil:
		case slices.Contains(typesOf(field), "string"):
			return at + "/" + name
		case at == "" && objectOf(field["properties"]) != nil:
			if inner := messageIn(field, "/"+name); inner != "" {
				return inner
			}
		}
	}
	return ""
}
