package auth

import (
	"net/http"

	"github.com/plugfn/plugfn/internal/api"
)

// guard lets a request through to routes that shows the API key. What it does
// there is done by the API, for the audit.
func (s *Service) guard(routes *http.ServeMux) http.Handler {
	guarded := api.Guard(s.apiKey, routes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guarded.ServeHTTP(w, r.WithContext(actingAs(r.Context(), actorAPI)))
	})
}
