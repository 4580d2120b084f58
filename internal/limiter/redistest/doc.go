// Package redistest gives tests a real redis-server, one of their own, which
// they may kill, freeze, empty and move far away. It is for tests that need the
// real thing, behind the build tag integration; others use miniredis.
//
// The server is a process of this machine on a free port, with its folder in
// that of the test, and ends with it. redis-server must be installed, such as
// with apt-get install redis-server. It needs a Unix, for its signals.
//
// Allowed imports: pkg, internal.
package redistest
