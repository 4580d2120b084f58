// Package api is what the HTTP APIs of two services have in common: the guard
// that wants the API key, operations described in OpenAPI, and errors as problems
// (RFC 9457).
//
// What holds:
//
//   - Nothing below a [Guard] is reached without the key, and no query that could
//     be read in two ways.
//   - Every answer that is an error is a [Problem], and holds nothing that the
//     caller sent but names. Trouble of our own goes to the log, and the caller
//     gets its number.
//
// Allowed imports: the standard library, huma, pkg and internal.
package api
