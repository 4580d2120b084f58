// Package contract writes down what PlugFn promises to programs that are not
// written in Go: AsyncAPI 3 of the subjects, OpenAPI 3.1 of the HTTP side, JSON
// Schemas of the files and of a result. All of it is made of the code: of the
// table of subjects in pkg/events, of the operations of the services, of the types
// that files are read into.
//
// The documents are committed under api/ as well; the test of this package fails
// where they differ.
//
// Routes: none. Allowed imports: the standard library, huma, pkg, internal,
// services, cmd/plugfn/settings.
package contract
