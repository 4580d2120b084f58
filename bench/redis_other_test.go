//go:build !unix

package bench

import "testing"

func redisURL(b *testing.B) string {
	b.Helper()
	b.Skip("redis-server is started on Unix only")
	return ""
}
