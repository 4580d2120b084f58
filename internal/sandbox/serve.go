package sandbox

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxBody is how many bytes the body of a request may have.
const maxBody = 1 << 20

// Handler answers all requests.
func (s *Sandbox) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// serve routes by the escaped path as it came: http.ServeMux would clean it and
// redirect, which no provider does.
func (s *Sandbox) serve(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if name == "_calls" && rest == "" && r.Method == http.MethodGet {
		s.listCalls(w)
		return
	}
	p, ok := s.providers[name]
	if !ok {
		say(http.StatusNotFound, "the sandbox has no such provider").write(w)
		return
	}
	call := Call{Provider: name, Method: r.Method, Path: "/" + rest, At: s.cfg.Now()}
	a := p.act(w, r, &call)
	call.Status, call.Duration = a.status, s.cfg.Now().Sub(call.At)
	s.calls.add(call) // before the answer: who has it finds the call
	a.write(w)
	s.cfg.Log.Debug().Str("provider", call.Provider).Str("action", call.Action).Int("status", call.Status).
		Dur("took", call.Duration).Msg("sandbox called")
	if s.cfg.OnCall != nil {
		s.cfg.OnCall(call)
	}
}

// act plays one request. It notes the action in call.
func (p *provider) act(w http.ResponseWriter, r *http.Request, call *Call) *answer {
	if a := p.authority.serve(w, r, call.Path); a != nil {
		return a
	}
	action, ok := p.pack.Match(call.Method, call.Path)
	if !ok {
		return p.notFound
	}
	call.Action = action.Name
	scene := p.scenes[action.Name]
	if !p.authorised(r) {
		return scene.unauthorised
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return say(http.StatusRequestEntityTooLarge, "the body is longer than 1 MiB")
	case err != nil:
		return say(http.StatusBadRequest, "the body broke off")
	}
	return scene.play(call.Path, r, body)
}

func (p *provider) authorised(r *http.Request) bool {
	for _, b := range p.bearers {
		if credential, ok := b.in(r); ok && !p.authority.isDead(credential) {
			return true
		}
	}
	return false
}
