// Package codegen writes code for one provider from its pack: a Go package with a
// method for each action, and types of TypeScript.
//
//	api, err := codegen.Read(pack)    // the form in between
//	files, err := codegen.Go(api, "github")
//	text := codegen.TypeScript(api)
//
// Both are made from one form, which is made from the JSON Schemas of the pack. The
// same pack gives the same bytes, always. Texts of a pack stand in comments and in
// quoted strings only: a hostile pack cannot make code.
//
// Nothing here does I/O.
//
// Allowed imports: the standard library, pkg/events, pkg/providers.
package codegen
