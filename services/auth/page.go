package auth

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed pages
var pageFiles embed.FS

// pages renders what people see. A page loads nothing from anywhere, runs no
// script, and all that is put into it is escaped.
type pages struct {
	templates map[string]*template.Template // :: name → page
	style     template.CSS
	styleHash string
}

func newPages() (*pages, error) {
	style, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		return nil, fmt.Errorf("auth: reading the pages: %w", err)
	}
	sum := sha256.Sum256(style)
	p := &pages{
		templates: map[string]*template.Template{},
		style:     template.CSS(style), //nolint:gosec // our own file
		styleHash: "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
	for _, name := range []string{"message", "connect", "form"} {
		t, err := template.ParseFS(pageFiles, "pages/frame.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("auth: reading the pages: %w", err)
		}
		p.templates[name] = t
	}
	return p, nil
}

// webPage is one answer to a browser.
type webPage struct {
	name   string // of the template
	status int
	title  string
	body   any
}

// notice is the body of the page message.
type notice struct {
	Text    string
	Bad     bool
	Missing []string // scopes
	Next    string   // where it goes on; "": nowhere
}

// write sends a page. Unless it leads to a provider, its forms go to ourselves:
// browsers that hold a redirect after a form to the same rule would refuse to
// follow the provider's own ones.
func (p *pages) write(w http.ResponseWriter, pg webPage) {
	var text bytes.Buffer
	err := p.templates[pg.name].ExecuteTemplate(&text, pg.name+".html", struct {
		Title string
		Style template.CSS
		Body  any
	}{pg.title, p.style, pg.body})
	if err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src " + p.styleHash
	if pg.name != "connect" {
		policy += "; form-action 'self'"
	}
	h := w.Header()
	harden(h)
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(pg.status)
	_, _ = w.Write(text.Bytes()) // the client went away
}

// harden sets the headers of every answer to a browser: its address may hold a
// session or a code, which no cache and no other site gets to know.
func harden(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
}

// leave sends the browser elsewhere.
func leave(w http.ResponseWriter, target string) {
	harden(w.Header())
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}
