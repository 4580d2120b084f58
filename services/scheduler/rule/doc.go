// Package rule says at which times a schedule has its ticks: by a cron
// expression in a time zone, at a distance, or once.
//
// What holds:
//
//   - The ticks of a rule follow from the rule alone: any process at any time
//     finds the same ones. They are strictly increasing.
//   - A cron expression whose hour field is fixed (9, 2,14, 8-18) is a promise
//     about the clock on the wall: a time that a change of the clocks leaves out
//     has its tick at the first moment after the gap, and one that comes twice has
//     its tick the first time only.
//   - One whose hour field starts with * goes on through a change of the clocks,
//     by the hours that really pass.
//   - Jitter delays a tick by an amount that follows from the tick, and never up
//     to the next one.
//
// It does no I/O and has no clock. Allowed imports: the standard library,
// robfig/cron. Nothing of this module.
package rule
