package main

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"
)

// column is one column of a list of T.
type column[T any] struct {
	title string
	value func(T) string
	wide  bool // only with -o wide
}

// list writes things: a table for people, otherwise the things themselves.
func list[T any](p *printer, items []T, name func(T) string, columns []column[T]) error {
	if items == nil {
		items = []T{} // not null
	}
	switch p.form {
	case formJSON:
		return p.json(items, "  ")
	case formYAML:
		return p.yaml(items)
	case formJSONL:
		return each(items, func(item T) error { return p.json(item, "") })
	case formName:
		return each(items, func(item T) error { return p.line(name(item)) })
	default:
		return table(p, items, columns)
	}
}

func each[T any](items []T, do func(T) error) error {
	for _, item := range items {
		if err := do(item); err != nil {
			return err
		}
	}
	return nil
}

// table writes aligned columns without borders.
func table[T any](p *printer, items []T, columns []column[T]) error {
	rows := [][]string{nil}
	for _, c := range columns {
		if !c.wide || p.form == formWide {
			rows[0] = append(rows[0], strings.ToUpper(c.title))
		}
	}
	for _, item := range items {
		var cells []string
		for _, c := range columns {
			if !c.wide || p.form == formWide {
				cells = append(cells, c.value(item))
			}
		}
		rows = append(rows, cells)
	}
	if len(items) == 0 {
		return nil
	}
	_, err := fmt.Fprint(p.out, align(rows))
	return err
}

// align sets the cells of rows under each other.
func align(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-lipgloss.Width(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// The four colours, always together with a sign and a word.
func done(s string) string { return lipgloss.NewStyle().Foreground(lipgloss.Green).Render("✓ " + s) }

func broken(s string) string { return lipgloss.NewStyle().Foreground(lipgloss.Red).Render("✗ " + s) }

func waiting(s string) string {
	return lipgloss.NewStyle().Foreground(lipgloss.Yellow).Render("! " + s)
}
func faint(s string) string { return lipgloss.NewStyle().Faint(true).Render(s) }
