// Package tally counts how actions ended, and how long they took, from the
// results that the bus keeps.
//
// Subjects:
//
//	plugfn.result.<user>.<provider>.<outcome>.<id>    read: their headers, from the stream PLUGFN_RESULTS
//
// There is one result for each request, whichever executor made it and whether
// that still runs: so a count of results is the same for everybody who asks.
// Nothing is written for it, and bodies are not read. Memory is bounded by the
// number of groups, not by that of results.
//
// Allowed imports: internal/bus, pkg/events, the NATS libraries.
package tally
