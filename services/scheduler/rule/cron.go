package rule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	maxCron = 200 // bytes of an expression

	// maxSegments bounds how many changes of the clocks are looked across.
	maxSegments = 64
)

// expression is a cron expression in a time zone.
type expression struct {
	spec *cron.SpecSchedule // of times on the wall, written as UTC
	zone *time.Location
	real bool // the hour field is a wildcard: the hours that really pass count
}

// named are the expressions that have a name.
func named(text string) (fields string, ok bool) {
	switch text {
	case "@yearly", "@annually":
		return "0 0 1 1 *", true
	case "@monthly":
		return "0 0 1 * *", true
	case "@weekly":
		return "0 0 * * 0", true
	case "@daily", "@midnight":
		return "0 0 * * *", true
	case "@hourly":
		return "0 * * * *", true
	default:
		return "", false
	}
}

// parseCron reads an expression of five fields, or of six with the seconds
// first, or one with a name.
func parseCron(text string, zone *time.Location) (expression, error) {
	fields := strings.Fields(text)
	switch {
	case len(text) > maxCron:
		return expression{}, fault("cron", "is longer than %d bytes", maxCron)
	case strings.HasPrefix(text, "@every"):
		return expression{}, fault("cron", `has no @every: use the field every, such as "every": "90s"`)
	case strings.Contains(text, "TZ="):
		return expression{}, fault("cron", `takes no TZ= or CRON_TZ=: use the field zone, such as "zone": "Europe/Berlin"`)
	case strings.HasPrefix(text, "@"):
		named, ok := named(text)
		if !ok {
			return expression{}, fault("cron", "%q is none of @yearly, @monthly, @weekly, @daily and @hourly", text)
		}
		fields = strings.Fields(named)
	}
	if len(fields) == 5 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 6 {
		return expression{}, fault("cron", `%q has %d fields: want five (minute, hour, day, month, weekday), or six with the seconds first, such as "0 9 * * MON-FRI"`, text, len(fields))
	}
	parser := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	parsed, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return expression{}, fault("cron", "%q: %v", text, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return expression{}, fault("cron", "%q is not of the known form", text)
	}
	spec.Location = time.UTC
	return expression{spec: spec, zone: zone, real: strings.HasPrefix(fields[2], "*") || strings.HasPrefix(fields[2], "?")}, nil
}

// next is the first time after t; zero when none is in sight, which is five
// years from where it looks.
func (e expression) next(t time.Time) time.Time {
	if e.real {
		return e.nextReal(t)
	}
	for w := e.spec.Next(wall(t, e.zone)); !w.IsZero(); w = e.spec.Next(w) {
		if at := onWall(w, e.zone); at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// nextReal looks from one change of the clocks to the next: between them the
// clock on the wall runs evenly.
func (e expression) nextReal(t time.Time) time.Time {
	t = t.In(e.zone)
	for range maxSegments {
		_, end := t.ZoneBounds()
		_, offset := t.Zone()
		w := e.spec.Next(wall(t, e.zone))
		at := w.Add(-time.Duration(offset) * time.Second)
		switch {
		case w.IsZero() && end.IsZero():
			return time.Time{}
		case !w.IsZero() && (end.IsZero() || at.Before(end)):
			return at
		}
		t = end
		if w = wall(end, e.zone); e.spec.Next(w.Add(-time.Second)).Equal(w) {
			return end
		}
	}
	return time.Time{}
}

// wall is what the clock shows in a zone at t, written as UTC.
func wall(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// onWall is when the clock in a zone shows w: the first time if it does so
// twice, and the end of the gap if a change of the clocks leaves it out.
func onWall(w time.Time, zone *time.Location) time.Time {
	at := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), zone)
	start, end := at.ZoneBounds()
	shown := wall(at, zone)
	switch {
	case shown.After(w):
		return start.UTC()
	case shown.Before(w):
		return end.UTC()
	case start.IsZero():
		return at.UTC()
	}
	_, before := start.Add(-time.Nanosecond).In(zone).Zone()
	if first := w.Add(-time.Duration(before) * time.Second); first.Before(start) {
		return first.UTC()
	}
	return at.UTC()
}

func fault(field, format string, args ...any) error {
	return &Fault{Field: field, Message: fmt.Sprintf(format, args...)}
}
