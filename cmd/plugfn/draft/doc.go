// Package draft makes the first version of a provider pack out of a description
// of its API: OpenAPI 3.0 and 3.1, Swagger 2, Google discovery, as JSON or YAML.
//
// A description is foreign text of any size and quality. [Read] refuses what is
// no description at all, with the place; what it does not understand of one, or
// what a pack cannot express, is left out and becomes a [Note] with the place.
// References are followed inside the document only, schemas are cut where they
// repeat themselves or grow too large, and a panic becomes an error.
//
// [Write] puts a pack into a folder as a whole or not at all, and only after
// pkg/providers has read it without complaint.
//
// Routes: none. Allowed imports: the standard library, go.yaml.in/yaml/v3,
// pkg/providers, pkg/events.
package draft
