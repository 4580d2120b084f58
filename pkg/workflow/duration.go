package workflow

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as 90s, 2h30m, 30d or 2w. A day is 24
// hours.
type Duration time.Duration

const day = 24 * time.Hour

var (
	durationForm = regexp.MustCompile(`^(?:(\d{1,5})w)?(?:(\d{1,5})d)?((?:\d{1,9}(?:\.\d{1,9})?(?:h|m|s|ms))*)$`)

	errDuration = errors.New("must be a duration such as 90s, 2h30m, 30d or 2w")
)

// ParseDuration reads a duration above zero of at most [MaxTimeout].
func ParseDuration(text string) (Duration, error) {
	parts := durationForm.FindStringSubmatch(text)
	if parts == nil || text == "" {
		return 0, errDuration
	}
	weeks, _ := strconv.Atoi(parts[1]) // "" is 0, and all else are digits
	days, _ := strconv.Atoi(parts[2])
	total := time.Duration(7*weeks+days) * day
	if parts[3] != "" {
		rest, err := time.ParseDuration(parts[3])
		if err != nil {
			return 0, errDuration
		}
		total += rest
	}
	switch {
	case total <= 0:
		return 0, errors.New("must be above zero")
	case total > MaxTimeout:
		return 0, errors.New("must be at most 365d")
	}
	return Duration(total), nil
}

// String returns the shortest form, in days, hours, minutes and seconds.
func (d Duration) String() string {
	days, rest := time.Duration(d)/day, time.Duration(d)%day
	var b strings.Builder
	if days > 0 {
		b.WriteString(strconv.Itoa(int(days)) + "d")
	}
	if rest > 0 || days == 0 {
		text := rest.String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		b.WriteString(text)
	}
	return b.String()
}

// MarshalText writes the form that [ParseDuration] reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
