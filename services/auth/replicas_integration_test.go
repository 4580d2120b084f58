//go:build integration

package auth

import (
	"testing"
	"time"
)

func TestReplicasKeepConnectionsAliveForLonger(t *testing.T) { testReplicas(t, 30*time.Second) }
