// Command web is an application with PlugFn in its own process and in its own
// router: net/http, chi, gin or echo.
//
//	go run . chi
//	curl -b user=demo http://127.0.0.1:8080/plugfn/v1/connections
//
// Its providers are fakes, and who is signed in is what a cookie says: use your
// sessions instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/plugfn/plugfn/pkg/embedded"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

const addr = "127.0.0.1:8080"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	name := "net/http"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	if err := run(ctx, name); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name string) (err error) {
	router, ok := routers()[name]
	if !ok {
		return fmt.Errorf("no router is called %q: net/http, chi, gin, echo", name)
	}
	p, err := embedded.Open(ctx, embedded.Config{
		Dir: ".plugfn-web", PublicURL: "http://" + addr + "/plugfn", Sandbox: true, SandboxUser: "demo",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	h, err := p.Client().Handler(plugfn.HandlerConfig{Prefix: "/plugfn", User: signedIn})
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: router(h), ReadHeaderTimeout: 5 * time.Second}
	stopping := context.AfterFunc(ctx, func() { _ = server.Shutdown(context.WithoutCancel(ctx)) })
	defer stopping()
	log.Printf("%s at http://%s/plugfn/v1/connections", name, addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// signedIn tells which user a request is from.
func signedIn(r *http.Request) (string, error) {
	cookie, err := r.Cookie("user")
	if err != nil {
		return "", err
	}
	return cookie.Value, nil
}
