package id

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// The pairs are the published test vectors of the TypeID specification.
func TestEncode(t *testing.T) {
	tests := []struct{ uuid, want string }{
		{"00000000-0000-0000-0000-000000000000", "00000000000000000000000000"},
		{"00000000-0000-0000-0000-000000000001", "00000000000000000000000001"},
		{"00000000-0000-0000-0000-00000000000a", "0000000000000000000000000a"},
		{"00000000-0000-0000-0000-000000000010", "0000000000000000000000000g"},
		{"00000000-0000-0000-0000-000000000020", "00000000000000000000000010"},
		{"ffffffff-ffff-ffff-ffff-ffffffffffff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"},
		{"0110c853-1d09-52d8-d73e-1194e95b5f19", "0123456789abcdefghjkmnpqrs"},
		{"01890a5d-ac96-774b-bcce-b302099a8057", "01h455vb4pex5vsknk084sn02q"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			if got := encode(uuid.MustParse(tt.uuid)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestEncodeKeepsTheOrder(t *testing.T) {
	bytes := rapid.Custom(func(t *rapid.T) uuid.UUID {
		return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := bytes.Draw(t, "a"), bytes.Draw(t, "b")
		if strings.Compare(a.String(), b.String()) != strings.Compare(encode(a), encode(b)) {
			t.Errorf("%s and %s sort otherwise than %s and %s", a, b, encode(a), encode(b))
		}
	})
}

func TestNewIsWellFormedAndSorted(t *testing.T) {
	var ids []string
	for range 2000 {
		got := New("con")
		rest, ok := strings.CutPrefix(got, "con_")
		if !ok || len(rest) != Size || strings.Trim(rest, alphabet) != "" {
			t.Fatalf("%q is malformed", got)
		}
		ids = append(ids, got)
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 2000 {
		t.Error("ids of one process are not strictly ascending")
	}
}

func TestNewIsUniqueUnderConcurrency(t *testing.T) {
	const each, workers = 500, 8
	made := make([][]string, workers)
	var wait sync.WaitGroup
	for i := range workers {
		wait.Go(func() {
			for range each {
				made[i] = append(made[i], New("req"))
			}
		})
	}
	wait.Wait()
	all := slices.Concat(made...)
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != each*workers {
		t.Errorf("%d different ids of %d", n, each*workers)
	}
}
