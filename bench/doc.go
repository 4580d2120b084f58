// Package bench measures the whole pipe, each figure beside a baseline of the
// same run: what a Go developer writes by hand in an afternoon, on the same
// server with the same durability. Read the ratios; absolute figures belong to
// the machine.
//
// It holds benchmarks only. Allowed imports: everything but cmd.
package bench
