// Package upkeep has something looked after at the start, every so often, and as
// soon as somebody asks for it.
//
// Allowed imports: the standard library.
package upkeep
