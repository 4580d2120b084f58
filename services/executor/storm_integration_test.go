//go:build integration

package executor

import "testing"

// 3,000 requests, of which the work breaks off more than 400 times, at each
// step, while executors die and a tenth of the writes end so that nobody can
// tell what came of them.
func TestGreatStorm(t *testing.T) {
	s := storm{requests: 3000, doomed: 60, breakOff: 0.04, deaths: 6, ambiguous: 0.1, grouped: true}
	s.run(t)
	s.holds()
	if n := s.breaks(); n < 400 {
		t.Errorf("the work broke off %d times only", n)
	}
	for _, p := range []point{
		pointTaken, pointAdmitted, pointClaimed, pointAnswered, pointLooked, pointWaiting, pointParked, pointBuried, pointConcluded,
	} {
		if s.broke[p] == 0 {
			t.Errorf("the work never broke off at %q", p)
		}
	}
}

// The same without a journal makes things twice.
func TestGreatStormWithoutJournal(t *testing.T) {
	s := storm{requests: 3000, breakOff: 0.04, deaths: 2, ambiguous: 0.1, forgetful: true}
	s.run(t)
	if all := s.tallies(); all["mark"].duplicates < 10 || all["none"].duplicates < 10 {
		t.Error("hardly anything was made twice although nothing was noted")
	}
}
