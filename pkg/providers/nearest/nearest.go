// Package nearest finds the name that was most likely meant by an unknown one.
//
// Allowed imports: the standard library.
package nearest

import (
	"iter"
	"slices"
	"strconv"
)

// Name returns the candidate that name was most likely meant to be, "" when
// none is close. Ties go to the first in alphabetical order.
func Name(name string, candidates iter.Seq[string]) string {
	if len(name) > 100 {
		return ""
	}
	best, least := "", min(len(name)/3+2, len(name)) // never all of it
	for _, c := range slices.Sorted(candidates) {
		if d := editDistance(name, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// Hint is the end of a message about an unknown name: ", did you mean x?", or ""
// when none is close.
func Hint(name string, candidates iter.Seq[string]) string {
	if c := Name(name, candidates); c != "" {
		return ", did you mean " + c + "?"
	}
	return ""
}

// Meant is the end of a message about an unknown name, for one that [Name] found:
// `; did you mean "x"?`, or "" for none.
func Meant(name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + strconv.Quote(name) + "?"
}

// editDistance counts the bytes to insert, delete or replace, and the
// neighbours to swap, to get from a to b.
func editDistance(a, b string) int {
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j]+cost, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
