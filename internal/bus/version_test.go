package bus

import (
	"strings"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for _, c := range []struct {
		version string
		want    string // part of the error; "": none
	}{
		{"2.14.0", ""},
		{"2.14.1", ""},
		{"2.15.2", ""},
		{"v2.14.0", ""},
		{"2.14.0+build.7", ""},
		{"2.15.0-RC.1", ""},
		{"3.0.0-beta.1", ""},
		{"10.0.0", ""},
		{"2.14.0-beta.1", "2.14.0 or later"},
		{"2.13.99", "2.13.99: PlugFn needs"},
		{"2.9.10", "PLUGFN_NATS_URL"},
		{"1.99.99", "2.14.0 or later"},
		{"", "cannot be read"},
		{"2.14", "cannot be read"},
		{"2.14.0.1", "cannot be read"},
		{"2.14.x", "cannot be read"},
		{"2.14.0-", "cannot be read"},
		{"-2.14.0", "cannot be read"},
		{"2.-14.0", "cannot be read"},
		{"2.+14.0", "cannot be read"},
		{"99999999999999999999.0.0", "cannot be read"},
		{"nats", `"nats", which cannot be read`},
	} {
		err := checkVersion(c.version)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.version, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: error %v, want one with %q", c.version, err, c.want)
		}
	}
}

func FuzzCheckVersion(f *testing.F) {
	for _, seed := range []string{"2.14.0", "2.14.0-beta.1", "v10.0.0+x", "2.9.10", "2..0", "-.-.-", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, version string) {
		numbers, pre, ok := parseVersion(version)
		newEnough := ok && (numbers[0] > 2 || numbers[0] == 2 && (numbers[1] > 14 || numbers[1] == 14 && (numbers[2] > 0 || !pre)))
		if err := checkVersion(version); (err == nil) != newEnough {
			t.Errorf("%q reads as %v, pre-release %v, readable %v: %v", version, numbers, pre, ok, err)
		}
	})
}
