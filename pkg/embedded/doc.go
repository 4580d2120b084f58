// Package embedded runs a whole PlugFn inside the application's own process: all
// services on a NATS server of their own, whose store is a directory.
//
//	p, err := embedded.Open(ctx, embedded.Config{Dir: "plugfn-data"})
//	…
//	defer p.Close()
//	result, err := p.Client().Do(ctx, plugfn.Request{…})
//	http.Handle("/plugfn/", http.StripPrefix("/plugfn", p.Handler()))
//
// It is the same code as `plugfn serve`, and the same data: the application can
// be moved to a PlugFn of its own processes by another line, [plugfn.Connect].
//
// It is a package of its own so that an application that only connects to a
// PlugFn does not contain one.
//
// Allowed imports: the standard library, nats.go, zerolog, pkg, internal.
package embedded
