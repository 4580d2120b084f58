package auth

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// childDir tells a copy of the test program that it is to encrypt anew what is
// in a directory, see runChild.
const childDir = "PLUGFN_TEST_REENCRYPT_DIR"

// runChild encrypts anew what is in a directory and writes one byte for each
// record, just before it is written. It rotates first if nothing is left to do.
func runChild(dir string) error {
	ctx := context.Background()
	b, err := bus.Open(ctx, bus.Config{Log: zerolog.Nop(), Addr: "-", Durability: bus.Dev, Dir: dir, Name: "child"})
	if err != nil {
		return err
	}
	k, _, err := OpenKeys(ctx, childKeys(b, dir))
	if err != nil {
		return err
	}
	used, err := k.count(ctx)
	if err == nil && used.under[k.primaryID()] == childRecords {
		err = k.rotate(ctx)
	}
	if err != nil {
		return err
	}
	k.sealed[0].kv = &meddler{KeyValue: k.sealed[0].kv, before: func(string) { fmt.Print(".") }}
	for cursor, begun := "", false; !begun || cursor != ""; begun = true {
		done, err := k.reencrypt(ctx, cursor, false)
		if err != nil || done.failures != nil {
			return fmt.Errorf("%v, %w", done.failures, err)
		}
		cursor = done.next
	}
	return b.Close(ctx)
}

const childRecords = 3*sweepBatch + 1

func childKeys(b *bus.Bus, dir string) KeysConfig {
	return KeysConfig{JetStream: b.JetStream(), Path: filepath.Join(dir, "keyset.json"), Log: zerolog.Nop()}
}

// inDir does something with the keys in a directory.
func inDir(t *testing.T, dir string, do func(r *rig, k *Keys)) {
	t.Helper()
	b := bustest.New(t, bustest.Dir(dir))
	defer bustest.Close(t, b)
	r := &rig{bus: b, connections: bucket(t, b, events.BucketConnections), keysets: bucket(t, b, bus.BucketKeys)}
	k, _, err := OpenKeys(t.Context(), childKeys(b, dir))
	must(t, err)
	r.cfg.Keys = k
	do(r, k)
}

// TestKilledWhileReencrypting kills a real process again and again, at any
// record, and has another one go on.
func TestKilledWhileReencrypting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var old uint32
	inDir(t, dir, func(r *rig, k *Keys) {
		old = k.primaryID()
		for i := range childRecords {
			id := fmt.Sprintf("con_%d", i)
			r.keep(t, id, "secret of "+id)
		}
	})
	for left := childRecords; ; {
		rest := left - killChild(t, dir, sweepWorkers+2+rand.IntN(left/2))
		inDir(t, dir, func(r *rig, k *Keys) {
			used, err := k.count(t.Context())
			must(t, err)
			if n := used.under[old]; n >= left || n > rest+sweepWorkers || n+used.under[k.primaryID()] != childRecords {
				t.Fatalf("%d of %d are left under the old key, of all %v", n, left, used)
			} else {
				left = n
			}
			if left < childRecords/4 { // the last one goes on to the end
				sweepAll(t, k, false)
			}
			wantAll(t, r, k)
		})
		if left < childRecords/4 {
			break
		}
	}
	inDir(t, dir, func(r *rig, k *Keys) {
		must(t, k.disable(t.Context(), old))
		wantAll(t, r, k)
	})
}

// killChild kills the process that encrypts once it is about to write its nth
// record, and returns how many it was seen to write.
func killChild(t *testing.T, dir string, n int) int {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	seen, err := io.CopyN(io.Discard, bufio.NewReaderSize(out, 16), int64(n))
	must(t, child.Process.Kill())
	_ = child.Wait() // killed
	if err != nil {
		t.Fatalf("it has ended after %d of %d: %s", seen, n, stderr.String())
	}
	return int(seen)
}

// wantAll wants every record to hold its own text.
func wantAll(t *testing.T, r *rig, k *Keys) {
	t.Helper()
	for i := range childRecords {
		c := events.Connection{ID: fmt.Sprintf("con_%d", i), UserID: "u1", Provider: "github"}
		if got := r.kept(t, k, c); got != "secret of "+c.ID {
			t.Fatalf("%s holds %q", c.ID, got)
		}
	}
}
