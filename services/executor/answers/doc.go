// Package answers keeps what providers answered to reads, to be used again.
//
// A [Store] holds values and marks. A mark is a name that a write stamps anew:
// whoever keeps an answer keeps with it what stood at the marks before he asked,
// and the answer is good as long as the same stands there. So an answer that was
// on its way while a write went by is not used afterwards, whichever process
// asked and whichever wrote.
//
// Guarantees:
//   - A store never returns a value for another key, and never one whose marks
//     were stamped since without showing other stamps.
//   - What is kept is bounded, in bytes and in time.
//
// [Memory] is of one process, [Redis] of all that use the same one.
//
// Allowed imports: go-redis, failsafe-go.
package answers
