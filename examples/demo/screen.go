package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// screen prints for a person. Away from a terminal it uses no colours.
type screen struct {
	out    io.Writer
	colour bool
}

func newScreen(f *os.File) *screen {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: f, colour: terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (s *screen) title(text string) { fmt.Fprintf(s.out, "%s\n\n", s.paint("1", text)) }

// note tells of a preparation and how long it took.
func (s *screen) note(name string, took time.Duration, what string) {
	s.row("✓", name, fmt.Sprintf("%.1f s", took.Seconds()), what)
}

// chain prints the steps with their times since the delivery was sent.
func (s *screen) chain(sent time.Time, steps []step) {
	fmt.Fprintln(s.out)
	for _, one := range steps {
		s.row("→", one.name, fmt.Sprintf("%d ms", one.at.Sub(sent).Milliseconds()), one.what)
	}
}

func (s *screen) end(text string) { fmt.Fprintf(s.out, "\n%s\n", s.paint("1", text)) }

func (s *screen) row(sign, name, time, what string) {
	fmt.Fprintf(s.out, "  %s %-14s %8s   %s\n", s.paint("32", sign), name, time, what)
}

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
