// Package endpoint is what the auth service, which keeps endpoints of single
// connections, and the ingress, which receives at them, mean by one.
//
// An endpoint has two names. Its id is for people, listings, logs and the source
// of its events. Its token is the last part of its URL: 160 random bits that
// nobody can guess, never written to a log but as [Digest].
//
// Allowed imports: the standard library, pkg/providers, internal/id.
package endpoint
