package providers

import (
	"strconv"
	"time"
)

// read returns the timestamp of a delivery as it is written there, after it was
// found to be within the tolerance.
func (t *Timestamp) read(in *inspection) (string, error) {
	text, err := in.only(t.From)
	if err != nil {
		return "", err
	}
	parts, _ := values(text, t.Split, t.Pick)
	if len(parts) != 1 {
		return "", refused(ReasonMalformed)
	}
	at, ok := parseTime(parts[0], t.Format)
	if !ok {
		return "", refused(ReasonMalformed)
	}
	switch age := in.d.ReceivedAt.Sub(at); {
	case age > t.Tolerance:
		return "", refused(ReasonStale)
	case age < -t.Tolerance:
		return "", refused(ReasonFuture)
	}
	return parts[0], nil
}

// parseTime reads a time strictly: of numbers only 1 to 13 digits, no sign, no
// exponent, no fraction.
func parseTime(text, format string) (time.Time, bool) {
	if format == "rfc3339" {
		at, err := time.Parse(time.RFC3339, text)
		return at, err == nil
	}
	if len(text) == 0 || len(text) > 13 {
		return time.Time{}, false
	}
	var n int64
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' {
			return time.Time{}, false
		}
		n = n*10 + int64(c-'0')
	}
	if format == "unix_ms" {
		return time.UnixMilli(n).UTC(), true
	}
	return time.Unix(n, 0).UTC(), true
}

// writeTime is the inverse of parseTime.
func writeTime(t time.Time, format string) string {
	switch format {
	case "rfc3339":
		return t.UTC().Format(time.RFC3339)
	case "unix_ms":
		return strconv.FormatInt(t.UnixMilli(), 10)
	default:
		return strconv.FormatInt(t.Unix(), 10)
	}
}
