// Package mcpserver has the actions of one user's connections be tools of the Model
// Context Protocol, for assistants.
//
// Each action of each provider that the user is connected to is one tool, with the
// action's parameters as its schema; the tools change when connections do. A call
// is a request like any other: it is validated, limited and retried by PlugFn, and
// has one result. What goes wrong is told in words that say what to do.
//
// It talks over standard input and output ([Server.Run]) or HTTP ([Server.Handler]),
// which asks nobody who he is: whoever reaches it acts for the user.
//
// Allowed imports: the standard library, the SDK of the protocol, zerolog,
// pkg/events, pkg/plugfn, pkg/providers.
package mcpserver
