package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
)

// routers are those that this program knows :: name → what mounts PlugFn.
func routers() map[string]func(plugfn http.Handler) http.Handler {
	return map[string]func(http.Handler) http.Handler{
		"net/http": onNetHTTP, "chi": onChi, "gin": onGin, "echo": onEcho,
	}
}

func onNetHTTP(plugfn http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/plugfn/", plugfn)
	mux.HandleFunc("GET /{$}", hello)
	return mux
}

func onChi(plugfn http.Handler) http.Handler {
	router := chi.NewRouter()
	router.Handle("/plugfn/*", plugfn)
	router.Get("/", hello)
	return router
}

func onGin(plugfn http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Any("/plugfn/*rest", gin.WrapH(plugfn))
	router.GET("/", gin.WrapF(hello))
	return router
}

func onEcho(plugfn http.Handler) http.Handler {
	router := echo.New()
	router.Any("/plugfn/*", echo.WrapHandler(plugfn))
	router.GET("/", echo.WrapHandler(http.HandlerFunc(hello)))
	return router
}

func hello(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("the application itself\n"))
}
